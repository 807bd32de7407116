#!/bin/sh
# The rooms of src/ in the order of docs/architecture.md: a file includes headers of its own room and of those before it.
# And the files that a page of docs/ names are there. Prints "ok <room or page>" or "not ok <file>: <header or path>".
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
for page in README.md docs/*.md; do
    wrong=""
    for path in $(grep -o '`\(src\|kernels\|tests\|data\)/[A-Za-z0-9_./*-]*`' "$page" | tr -d '`' | sort -u); do
        ls -d $path > /dev/null 2>&1 || wrong="$wrong $path" # it may be a pattern
    done
    [ -z "$wrong" ] && echo "ok $page names files that are there" || echo "not ok $page:$wrong"
done
exit 0
