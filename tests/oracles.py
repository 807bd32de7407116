#!/usr/bin/env python3
"""Compare ./skintern with reference results, through its command line.

    tests/oracles.py [FOLDER] [--skintern ./skintern] [--device reference,cpu] [--case NAME ...]

FOLDER (default ../shared/oracles) holds a folder a case: tiny random models with what Hugging Face
transformers and PEFT compute from them. tests/compare_huggingface.py makes fresh ones. Needs Python 3.9 and
nothing else: files are read by the forty lines below.

Prints one line a check, "ok", "not ok" or "skipped" (the case has no such file), with the largest deviation
as a share of what is tolerated; ends with a summary. Exit status 0 when nothing is wrong and something was
checked.

What a check tolerates (relative); the reference itself, repeated in double precision, moves by less than a
tenth:

    logits      largest difference <= 2e-4 of the largest logit
    loss        1e-5
    gradients   L2 distance of each tensor <= 1e-4 of its L2 norm
    training    at each of ten steps losses 1e-3, gradient norms 2e-3, rates 1e-6; then the L2 distance of each
                adapter tensor 1e-2
    ids, FLOPs  equal

Files of a case (all but model/, input_ids.npy and logits.npy may be missing; B rows of T tokens, V the
vocabulary):

    model/                                  a Hugging Face folder
    input_ids.npy, labels.npy               (B,T) int32; -100 where there is no label; label t+1 is scored at t
    logits.npy, loss.npy, grads.safetensors     of the base model; the loss is one mean over all labels of the batch
    adapter_init/                           a PEFT adapter; adapter_logits.npy, adapter_loss.npy, adapter_grads.safetensors
    merged_logits.npy                       (B,T,V) with the adapter merged into the weights
    train/                                  config.json, losses.npy, grad_norms.npy, lrs.npy, adapter_model.safetensors
    ragged.json, ragged_logits_<i>.npy      sequences of different lengths as one batch, and each alone
    greedy.json, flops.json                 continuations without a stop; FLOPs of a forward pass
    gguf/model-<type>.gguf                  the model as GGUF, gguf/<type>_logits.npy (f32: logits.npy), and for some
                                            gguf/<type>_adapter_loss.npy,
                                            gguf/<type>_adapter_grads.safetensors
"""

import argparse
import array
import ast
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

LIMITS = dict(logits=2e-4, loss=1e-5, gradient=1e-4, losses=1e-3, grad_norms=2e-3, lrs=1e-6, adapter=1e-2)


# ---- files -------------------------------------------------------------------------------------------------

def numbers(code, data):
    """Little-endian data as an array of this type code."""
    values = array.array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def read_npy(path):
    """(shape, values) of a .npy file of float32, float64, int32 or int64."""
    data = path.read_bytes()
    if data[:6] != b"\x93NUMPY":
        raise Wrong(f"{path} is no .npy file")
    size, start = (struct.unpack_from("<H", data, 8)[0], 10) if data[6] == 1 else (
        struct.unpack_from("<I", data, 8)[0], 12)
    header = ast.literal_eval(data[start:start + size].decode("latin1"))
    if header["fortran_order"]:
        raise Wrong(f"{path} is in Fortran order")
    code = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q"}[header["descr"]]
    values = numbers(code, data[start + size:])
    if len(values) != math.prod(header["shape"]):
        raise Wrong(f"{path} holds {len(values)} values for the shape {header['shape']}")
    return header["shape"], values


def read_safetensors(path):
    """{name: (shape, values)} of a .safetensors file of float32."""
    data = path.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise Wrong(f"{path}: {name} is {entry['dtype']}, not F32")
        begin, end = entry["data_offsets"]
        tensors[name] = entry["shape"], numbers("f", data[start + begin:start + end])
    return tensors


def scalar(path):
    return read_npy(path)[1][0]


def rows_of(path):
    """The rows of a two-dimensional .npy file, as lists."""
    (_, columns), values = read_npy(path)
    return [list(values[i:i + columns]) for i in range(0, len(values), columns)]


# ---- comparisons -------------------------------------------------------------------------------------------

class Wrong(Exception):
    """A check that cannot be finished: the program failed, or a shape, name or id differs."""


def same_length(got, want, what):
    if len(got) != len(want):
        raise Wrong(f"{what}: {len(got)} values, expected {len(want)}")


def finite(values, what):
    """The values; NaN and infinity are failures here, because max() would step over a NaN."""
    if not all(map(math.isfinite, values)):
        raise Wrong(f"{what} holds a value that is not finite")
    return values


def largest_difference(got, want, what):
    """max |got - want| / max |want|"""
    same_length(got, want, what)
    finite(got, what)
    return max(abs(a - b) for a, b in zip(got, want)) / max(map(abs, want))


def distance(got, want, what):
    """|got - want| / |want|, Euclidean norms. A tensor of zeros must be met exactly."""
    same_length(got, want, what)
    difference = math.sqrt(sum((a - b) ** 2 for a, b in zip(finite(got, what), want)))
    size = math.sqrt(sum(b * b for b in want))
    return difference / size if size > 0 else (math.inf if difference > 0 else 0.0)


def relative(got, want, what):
    """The largest |got - want| / |want| of two lists of numbers; where 0 is expected, 0 must be there."""
    same_length(got, want, what)
    finite(got, what)
    return max(abs(a - b) / abs(b) if b else (math.inf if a else 0.0) for a, b in zip(got, want))


def tensors_distance(got, want):
    """The largest distance of the tensors of `want`; names and shapes must be the same."""
    if set(got) != set(want):
        raise Wrong(f"missing {sorted(set(want) - set(got))[:3]}, unexpected {sorted(set(got) - set(want))[:3]}")
    for name, (shape, _) in want.items():
        if list(got[name][0]) != list(shape):
            raise Wrong(f"{name} has the shape {got[name][0]}, expected {shape}")
    return max(distance(got[name][1], want[name][1], name) for name in want)


# ---- the program -------------------------------------------------------------------------------------------

class Skintern:
    """The commands of the program, each run in a process of its own. Results are those of Python."""

    def __init__(self, program, device, work):
        self.program, self.device, self.work = program, device, work

    def run(self, *arguments, device=True):
        """Standard output. Models are tiny, so more threads would only wait for each other."""
        command = [self.program, *map(str, arguments)]
        if device:
            command += ["--device", self.device, "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Wrong(f"{arguments[0]} ended with {done.returncode}: {said[-1] if said else 'nothing said'}")
        return done.stdout

    @staticmethod
    def model(path, adapter):
        return ["--model", path] + (["--adapter", adapter] if adapter else [])

    def logits(self, path, ids, adapter=None):
        """(shape, values), shape (T,V)"""
        out = self.work / "logits.npy"
        self.run("logits", *self.model(path, adapter), "--ids", words(ids), "--out", out)
        return read_npy(out)

    def gradients(self, path, rows, adapter=None):
        """(loss, {name: (shape, gradient)}) of a batch: the mean of the rows' means, weighted by their labels."""
        loss, total, labels_in_all = 0.0, {}, sum(count_labels(labels) for _, labels in rows)
        for ids, labels in rows:
            out, share = self.work / "trace.safetensors", count_labels(labels) / labels_in_all
            self.run("trace", *self.model(path, adapter), "--ids", words(ids), f"--labels={words(labels)}",
                     "--out", out)
            tensors = read_safetensors(out)
            loss += share * tensors["loss"][1][0]
            for name, (shape, values) in tensors.items():
                if name.startswith("grad."):
                    sums = total.setdefault(name[len("grad."):], (shape, [0.0] * len(values)))[1]
                    sums[:] = [s + share * v for s, v in zip(sums, values)]
        return loss, total

    def train(self, path, rows, adapter, how, out=None):
        """Rows of log.jsonl and the adapter after how["steps"] updates on one batch."""
        tokens, out = self.work / "tokens.jsonl", out or self.work / "trained"
        tokens.write_text("".join(json.dumps(dict(ids=list(ids), labels=list(labels))) + "\n" for ids, labels in rows))
        self.run("train", "--model", path, "--tokens", tokens, "--adapter-init", adapter, "--out", out,
                 "--steps", how["steps"], "--batch-size", len(rows), "--no-shuffle", "--lr", how["lr"],
                 "--lr-scheduler", how["schedule"], "--warmup-ratio", how["warmup_ratio"],
                 "--weight-decay", how["weight_decay"], "--max-grad-norm", how["max_grad_norm"])
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return log, read_safetensors(out / "adapter_model.safetensors")

    def generate(self, path, ids, count, adapter=None, ignore_eos=True):
        said = self.run("generate", *self.model(path, adapter), "--ids", words(ids), "--max-new-tokens", count,
                        "--print-ids", *(["--ignore-eos"] if ignore_eos else []))
        return [int(word) for word in said.split()]

    def merge(self, path, adapter):
        out = self.work / "merged"
        self.run("merge", *self.model(path, adapter), "--out", out, "--dtype", "f32", device=False)
        return out


def words(ids):
    return " ".join(map(str, ids))


def count_labels(labels):
    """Labels with a position before them."""
    return sum(label != -100 for label in labels[1:])


# ---- the checks of a case ----------------------------------------------------------------------------------
# Each gives [(what deviates, by how much, what is tolerated)]; what must be equal raises Wrong instead.

def check_logits(program, model, ids, want_path, adapter=None):
    """Every row of the batch alone against its slice of (B,T,V)."""
    (batch, tokens, vocab), want = read_npy(want_path)
    got = array.array("f")
    for row in ids:
        shape, values = program.logits(model, row, adapter)
        if tuple(shape) != (tokens, vocab):
            raise Wrong(f"logits have the shape {shape}, expected {(tokens, vocab)}")
        got.extend(values)
    return [("logits", largest_difference(got, want, "logits"), LIMITS["logits"])]


def check_gradients(program, model, rows, loss_path, grads_path, adapter=None):
    loss, grads = program.gradients(model, rows, adapter)
    return [("loss", relative([loss], [scalar(loss_path)], "loss"), LIMITS["loss"]),
            ("gradient", tensors_distance(grads, read_safetensors(grads_path)), LIMITS["gradient"])]


def compare_log(log, want):
    return [(what, relative([row[ours] for row in log], list(want[what]), what), LIMITS[what])
            for what, ours in (("losses", "loss"), ("grad_norms", "grad_norm"), ("lrs", "lr"))]


def check_training(program, folder, rows):
    train = folder / "train"
    how = json.loads((train / "config.json").read_text())
    log, adapter = program.train(folder / "model", rows, folder / "adapter_init", how)
    want = {what: read_npy(train / f"{what}.npy")[1] for what in ("losses", "grad_norms", "lrs")}
    moved = tensors_distance(adapter, read_safetensors(train / "adapter_model.safetensors"))
    return compare_log(log, want) + [("adapter", moved, LIMITS["adapter"])]


def check_ragged(program, folder):
    """Sequences of different lengths: each alone, and all in one packed batch against a padded and masked one."""
    ragged = json.loads((folder / "ragged.json").read_text())
    rows = [(s["ids"], s["labels"]) for s in ragged["sequences"]]
    found = []
    for sequence in ragged["sequences"]:
        (tokens, vocab), want = read_npy(folder / sequence["logits"])
        shape, got = program.logits(folder / "model", sequence["ids"])
        if tuple(shape) != (tokens, vocab):
            raise Wrong(f"logits have the shape {shape}, expected {(tokens, vocab)}")
        found.append((sequence["logits"], largest_difference(got, want, "logits"), LIMITS["logits"]))
        loss = program.gradients(folder / "model", [(sequence["ids"], sequence["labels"])])[0]
        found.append(("loss", relative([loss], [sequence["loss"]], "loss"), LIMITS["loss"]))
    how = json.loads((folder / "train" / "config.json").read_text())
    log, _ = program.train(folder / "model", rows, folder / "adapter_init", how)
    return found + compare_log(log, ragged["train"])


def check_greedy(program, folder, model, name):
    """Continuations with and without a stop at the end-of-sequence id, which is the last one when it comes."""
    greedy = json.loads((folder / "greedy.json").read_text())
    adapter = folder / "adapter_init" if name == "adapter" else None
    ids, stops_at = greedy[name]["ids"], greedy[name]["stops_at"]
    stopped = ids if stops_at is None else ids[:stops_at + 1]
    for ignore_eos, want in ((True, ids), (False, stopped)):
        got = program.generate(model, greedy["prompt"], len(ids), adapter, ignore_eos)
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise Wrong(f"{'without' if ignore_eos else 'with'} a stop: {len(got)} ids, first other at {at}: "
                        f"{got[at:at + 3]}, expected {want[at:at + 3]}")
    return []


def check_flops(program, folder, model):
    for tokens, want in json.loads((folder / "flops.json").read_text())["prompt_tokens"].items():
        said = program.run("flops", "--model", model, "--prompt-tokens", tokens, "--new-tokens", 0)
        got = dict(line.split() for line in said.splitlines())
        terms = dict(flops=want["flops"], linear=want["linear"] - want["lm_head"], output=want["lm_head"],
                     attention=want["attention_scores"] + want["attention_values"])
        for term, value in terms.items():
            if int(got.get(term, -1)) != value:
                raise Wrong(f"{tokens} tokens: {term} {got.get(term)}, expected {value}")
    return []


def checks_of(program, folder, first):
    """(name, the file that must be there, function) for every check of a case; `first`: the first device."""
    model, adapter = folder / "model", folder / "adapter_init"
    ids = rows_of(folder / "input_ids.npy")
    rows = list(zip(ids, rows_of(folder / "labels.npy"))) if (folder / "labels.npy").exists() else []
    yield "logits", "logits.npy", lambda: check_logits(program, model, ids, folder / "logits.npy")
    yield "loss and gradients", "grads.safetensors", lambda: check_gradients(
        program, model, rows, folder / "loss.npy", folder / "grads.safetensors")
    yield "adapter logits", "adapter_logits.npy", lambda: check_logits(
        program, model, ids, folder / "adapter_logits.npy", adapter)
    yield "adapter loss and gradients", "adapter_grads.safetensors", lambda: check_gradients(
        program, model, rows, folder / "adapter_loss.npy", folder / "adapter_grads.safetensors", adapter)
    yield "training steps", "train/losses.npy", lambda: check_training(program, folder, rows)
    yield "ragged batch", "ragged.json", lambda: check_ragged(program, folder)
    yield "greedy ids", "greedy.json", lambda: check_greedy(program, folder, model, "base")
    yield "greedy ids with the adapter", "greedy.json", lambda: check_greedy(
        program, folder, model, "adapter")
    if first:  # these do not compute on a device
        yield "flops", "flops.json", lambda: check_flops(program, folder, model)
        yield "merge", "merged_logits.npy", lambda: check_logits(
            program, program.merge(model, adapter), ids, folder / "merged_logits.npy")
    for gguf in sorted((folder / "gguf").glob("model-*.gguf")):
        kind = gguf.stem[len("model-"):]
        want = f"gguf/{kind}_logits.npy" if kind != "f32" else "logits.npy"
        yield f"gguf {kind} logits", want, lambda gguf=gguf, want=want: check_logits(program, gguf, ids, folder / want)
        if kind == "f32":  # the same numbers in another file
            yield "gguf f32 greedy ids", "greedy.json", lambda gguf=gguf: check_greedy(program, folder, gguf, "adapter")
            yield "gguf f32 flops", "flops.json", lambda gguf=gguf: check_flops(program, folder, gguf)
        grads = f"gguf/{kind}_adapter_grads.safetensors"
        if (folder / grads).exists():
            yield f"gguf {kind} adapter loss and gradients", grads, lambda gguf=gguf, kind=kind, grads=grads: \
                check_gradients(program, gguf, rows, folder / f"gguf/{kind}_adapter_loss.npy", folder / grads, adapter)


# ---- all cases ---------------------------------------------------------------------------------------------

class Tally:
    """Counts and prints checks."""

    def __init__(self):
        self.ok = self.not_ok = self.skipped = 0
        self.worst = (0.0, "nothing")

    def check(self, name, function):
        """Runs one check; True when it passes."""
        try:
            found = [(what, value, limit, value / limit) for what, value, limit in function()]
        except (Wrong, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
            return self.fail(name, f"{type(error).__name__}: {error}" if not isinstance(error, Wrong) else error)
        shown = ", ".join(f"{what} {value:.1e} ({100 * ratio:.2g} %)" for what, value, _, ratio in merged(found))
        self.worst = max([self.worst] + [(ratio, f"{name}, {what}") for what, _, _, ratio in found])
        if not all(value <= limit for _, value, limit, _ in found):
            return self.fail(name, shown)
        self.ok += 1
        print(f"ok {name}: {shown or 'equal'}", flush=True)
        return True

    def fail(self, name, why):
        self.not_ok += 1
        print(f"not ok {name}: {why}", flush=True)
        return False

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)

    def end(self):
        """Prints the summary; the exit status."""
        print(f"{self.ok} ok, {self.not_ok} not ok, {self.skipped} skipped; largest share of a limit "
              f"{100 * self.worst[0]:.2g} % ({self.worst[1]})")
        return 0 if self.not_ok == 0 and self.ok > 0 else 1


def merged(found):
    """The worst entry of each kind, in order."""
    order = list(dict.fromkeys(entry[0] for entry in found))
    return [max((e for e in found if e[0] == what), key=lambda e: e[3]) for what in order]


def check_folder(tally, folder, program_path, devices, only=(), work=None):
    """Every case of a folder on every device."""
    for case in sorted(path.parent for path in folder.glob("*/logits.npy")):
        if only and case.name not in only:
            continue
        for device in devices:
            with tempfile.TemporaryDirectory(dir=work) as scratch:
                program, missing = Skintern(program_path, device, Path(scratch)), []
                for what, needed, function in checks_of(program, case, device == devices[0]):
                    if (case / needed).exists():
                        tally.check(f"{case.name} {device} {what}", function)
                    else:
                        missing.append(what)
                if missing:
                    tally.skip(f"{case.name} {device}", "no files for " + ", ".join(missing))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/oracles"))
    parser.add_argument("--skintern", default="./skintern", help="the program")
    parser.add_argument("--device", default="reference,cpu", help="one or several, with commas")
    parser.add_argument("--case", action="append", default=[], help="this case only (may be repeated)")
    args = parser.parse_args()
    tally = Tally()
    if not args.folder.is_dir():
        tally.skip("oracles", f"there is no folder {args.folder}")
        return 0
    check_folder(tally, args.folder, args.skintern, args.device.split(","), args.case)
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
