#!/bin/sh
# The rooms of src/ in the order of docs/architecture.md: a file includes headers of its own room and of those before it.
# Prints "ok <room>" or "not ok <file>: <header>".
set -u
rooms="support distributed formats tokenizer tasks model method pretraining report measure experiment commands"
for folder in src/*/; do
    room=$(basename "$folder")
    case " $rooms " in
    *" $room "*) ;;
    *) echo "not ok $folder is no room of docs/architecture.md" ;;
    esac
done
later=$rooms
for room in $rooms; do
    later=${later#"$room"}
    later=${later# }
    wrong=""
    for other in $later; do
        wrong=$wrong$(grep -n "#include \"$other/" "src/$room/"* | sed 's/^/not ok /')
    done
    [ -z "$wrong" ] && echo "ok src/$room includes what stands before it" || echo "$wrong"
done
