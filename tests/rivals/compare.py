#!/usr/bin/env python3
"""skintern beside the programs it is measured by, on this machine, in turns: OpenBLAS, PyTorch, PEFT, transformers, llama.cpp.

    make smollm2 && tests/rivals/setup.sh build/rivals/venv
    build/rivals/venv/bin/python tests/rivals/compare.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf
        [--cache build/rivals] [--skintern ./skintern] [--llama-python OTHER/bin/python] [--threads N] [--rounds 3]
        [--only WORDS ...] [--no-checks] [--continuations] [--quiet-for SECONDS] [--json FILE]

1. Equal results first. A row whose results are not those of the rival is not timed. Products: both programs get the
   same operands, and each is compared with numpy in float64. Training: PEFT writes an adapter that is not zero, and both
   compute loss and norm of the gradient of the same batch. Prefill and decoding: logits of the same tokens, the first
   half as a prompt, with transformers in F32 on the dequantised weights as the reference. --continuations: greedy
   ids too, by tests/compare_smollm2.py.
2. Then ours, rival, ours, rival ...: every measurement is a process of its own that warms up and repeats the work. The
   table has the median of a side's processes (each of them the median of its repetitions) and the best repetition, and
   their ratios: above 1 is faster than the rival. Memory is the largest resident set of a side.
3. The roof, after `skintern bench roof`, is what no program can pass, and the share is ours of it:
     matmul    multiply-adds in registers, in F32 or, with dtype bf16, in BF16
     training, prefill   the operations that the mathematics needs, all at that speed (operations() below)
     decoding  the bytes of the model, read from memory once a step; or the operations, whichever takes longer. Where
               the model fits into a cache, a program can be faster.

Others on the machine: the column `others` is the largest share of the processors that other processes took during a
row's measurements, where /proc tells. --quiet-for waits up to so long before each for a second in which they
take less than a twentieth.

A command that fails leaves one line with the reason; the rest goes on. With llama.cpp, a type whose repacked weights
end the process is measured again with the weights as they lie in the file. Needs numpy and what setup.sh installs.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import files  # noqa: E402

SHAPES = [(512, 1536, 576), (2048, 1536, 576), (2048, 576, 1536), (2048, 576, 576), (64, 1536, 576)]
TRAIN = dict(sequences=4, tokens=512, labelled=0.25, r=16)


# ---- processes ---------------------------------------------------------------------------------------------

def processor_seconds():
    """Seconds that all processors have worked since the start of the system, or None where /proc does not tell."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(seconds):
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        before = processor_seconds()
        time.sleep(1)
        if before is None or processor_seconds() - before < 0.05 * os.cpu_count():
            return


class Failed(Exception):
    """A command ended badly; the text is the reason in one line."""


def call(command, threads):
    """(lines of output, share of the processors that others took). A shell starts the program, because Linux counts
    the memory of what starts a program into its largest resident set, and this one is large."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1",
                       HF_HUB_DISABLE_PROGRESS_BARS="1")
    before, own, begin = processor_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment)
    used, passed = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Failed(f"ended by signal {done.returncode - 128}" if done.returncode > 128 else said[0][:160])
    mine = used.ru_utime + used.ru_stime - own.ru_utime - own.ru_stime
    others = 0.0 if before is None else (processor_seconds() - before - mine) / (passed * os.cpu_count())
    return done.stdout.splitlines(), max(0.0, others)


def measured(command, what, threads):
    """The line of JSON about `what` (its beginning is enough) that a measurement prints."""
    lines, others = call(command, threads)
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    for row in rows:
        if row["what"].endswith(what):
            return dict(row, others=others)
    raise Failed(f"no line about {what}")


# ---- what is measured --------------------------------------------------------------------------------------

@dataclasses.dataclass
class Side:
    name: str
    command: list
    what: str = ""       # how its line of output ends; "": the first
    fallback: list = None  # tried when the command fails, and named in the table
    samples: list = dataclasses.field(default_factory=list)

    def sample(self, threads):
        command = self.command + ["--threads", threads]
        try:
            self.samples.append(measured(command, self.what, threads))
        except Failed as failure:
            if not self.fallback:
                raise
            print(f"{self.name}: {failure}; once more with {' '.join(self.fallback)}", flush=True)
            self.command, self.fallback, self.name = self.command + self.fallback, None, self.name + ", not repacked"
            self.sample(threads)

    def median(self):
        return statistics.median(sample["value"] for sample in self.samples)

    def best(self):
        return max(sample["max"] for sample in self.samples)

    def memory(self):
        return max(sample["peak_rss_bytes"] for sample in self.samples) / 1e9


@dataclasses.dataclass
class Group:
    """Programs that do the same work, measured in turns."""
    work: str
    unit: str
    ours: list
    rivals: list
    roof: object  # machine -> the most that is possible, in `unit`
    check: object  # () -> (good, what was compared); run before the first measurement


class Plan:
    """Every row of the table."""

    def __init__(self, args):
        self.args, self.cache = args, args.cache
        self.paths = {kind: args.cache / f"{kind}.gguf" for kind in ("f32", "bf16", "q8_0", "q4_0")}
        self.paths["q4_1"] = args.model
        self.folders = {kind: args.cache / f"hf-{kind}" for kind in ("f32", "bf16")}
        self.config = json.loads((self.folders["f32"] / "config.json").read_text())

    def groups(self):
        yield from (self.matmul(shape, dtype) for dtype in ("f32", "bf16") for shape in SHAPES)
        yield from (self.train(dtype) for dtype in ("f32", "bf16"))
        yield from (self.prefill(kind) for kind in ("f32", "bf16", "q4_0", "q4_1", "q8_0"))
        yield from (self.decode(kind, 1) for kind in ("q4_0", "q4_1", "q8_0", "bf16"))
        yield from (self.decode(kind, 64) for kind in ("q4_0", "bf16"))

    # Commands. --dtype is given where it is not the default.
    def skintern(self, work, dtype, *more):
        return [self.args.skintern, "bench", work, "--json", *more, *(["--dtype", dtype] if dtype != "f32" else [])]

    def torch(self, work, dtype, *more):
        return [sys.executable, HERE / "torch_rival.py", work, "--dtype", dtype, *more]

    def llama(self, work, kind, *more):
        return [self.args.llama_python, HERE / "llama_rival.py", work, "--type", kind, "--model", self.paths[kind], *more]

    def matmul(self, shape, dtype):
        what, text = "{} x {} x {}".format(*shape), ",".join(map(str, shape))
        ours = self.skintern("matmul", dtype, "--shape", text)
        rivals = [Side(f"PyTorch {dtype}", self.torch("matmul", dtype, "--shape", text))]
        if dtype == "f32":
            rivals.append(Side("OpenBLAS f32", [sys.executable, HERE / "blas_rival.py", "--shape", text]))
        return Group(f"matmul {what}", "GFLOP/s",
                     [Side(f"{dtype}", ours, what), Side(f"{dtype}, weight packed once", ours, "packed once")],
                     rivals, lambda machine: machine[dtype], lambda: check_matmul(self, text, dtype))

    def train(self, dtype):
        more = ["--adapter-bf16"]
        peft = self.torch("train", dtype, "--model", self.folders[dtype])
        rivals = [Side(f"PEFT {dtype}", peft)] + ([Side("PEFT bf16, adapters too", peft + more)] if dtype == "bf16" else [])
        return Group("LoRA r 16, 4 x 512", "tokens/s",
                     [Side(f"{dtype}", self.skintern("train", dtype, "--model", self.paths[dtype], "--lora-r", TRAIN["r"],
                                                     "--batch-size", TRAIN["sequences"], "--seq-len", TRAIN["tokens"]))],
                     rivals, lambda machine: 1e9 * machine[dtype] / train_operations(self.config),
                     lambda: check_train(self, dtype))

    def both_dtypes(self, kind, work, *more):
        """Ours in F32 and, where a rival rounds too (to BF16, or to 8 bits), in BF16."""
        return [Side(f"{kind}, {dtype}", self.skintern(work, dtype, "--model", self.paths[kind], *more))
                for dtype in (["f32"] if kind == "f32" else ["f32", "bf16"])]

    def prefill(self, kind):
        rivals = []
        if kind in self.folders:
            rivals.append(Side(f"transformers {kind}", self.torch("prefill", kind, "--model", self.folders[kind])))
        if kind != "f32":
            rivals.append(Side(f"llama.cpp {kind}", self.llama("prefill", kind), fallback=["--no-repack"]))
        roof = "f32" if kind == "f32" else "bf16"
        return Group("prefill 512", "tokens/s", self.both_dtypes(kind, "prefill"), rivals,
                     lambda machine: 1e9 * machine[roof] / operations(self.config, 512, 1 / 512),
                     lambda: check_logits(self, kind))

    def decode(self, kind, sequences):
        more = ["--batch-size", sequences, "--new-tokens", 64 if sequences == 1 else 16]
        rivals = [Side(f"llama.cpp {kind}", self.llama("decode", kind, *more), fallback=["--no-repack"])]
        if sequences > 1 and kind == "bf16":
            rivals.append(Side("transformers bf16", self.torch("decode", kind, "--model", self.folders[kind], *more)))

        def roof(machine):
            reading = 1e9 * machine["memory"] / self.paths[kind].stat().st_size * sequences
            return min(reading, 1e9 * machine["bf16"] / operations(self.config, 2 * 96, 1))
        more += ["--kv-cache", "bf16"]  # 16 bits, as theirs
        ours = self.both_dtypes(kind, "decode", *more)
        if sequences == 1 and kind.startswith("q"):
            ours.append(Side(f"{kind}, activations q8", self.skintern("decode", "f32", "--model", self.paths[kind], *more,
                                                                      "--activations", "q8")))
        return Group(f"decode {sequences}", "tokens/s", ours, rivals, roof,
                     lambda: check_logits(self, kind))


# ---- the operations that the mathematics needs -------------------------------------------------------------

def linear_weights(config, adapter_rank=0):
    """Weights of all linear layers; of their adapters with a rank."""
    C, F = config["hidden_size"], config["intermediate_size"]
    Q, KV = (config["head_dim"] * config[f"num_{name}_heads"] for name in ("attention", "key_value"))
    shapes = [(Q, C), (KV, C), (KV, C), (C, Q), (F, C), (F, C), (C, F)]
    return config["num_hidden_layers"] * sum(adapter_rank * (m + n) if adapter_rank else m * n for m, n in shapes)


def attention_product(config, tokens):
    """Operations of q k^T (or of p v) a token: the causal half, on average."""
    return config["num_hidden_layers"] * config["head_dim"] * config["num_attention_heads"] * (tokens + 1)


def operations(config, tokens, scored):
    """Forward, a token of a sequence of `tokens`, a share `scored` of which has logits."""
    head = 2 * config["vocab_size"] * config["hidden_size"] * scored
    return 2 * linear_weights(config) + 2 * attention_product(config, tokens) + head


def train_operations(config):
    """Forward; the gradient of every input, as large as forward; in attention four products, of logits and adapters as
    much again. No gradient of a frozen weight, and nothing computed twice."""
    adapters = 2 * linear_weights(config, TRAIN["r"])
    return (2 * operations(config, TRAIN["tokens"], TRAIN["labelled"]) + 3 * adapters)


# ---- equal results -----------------------------------------------------------------------------------------

def check_matmul(plan, shape, dtype):
    """A sum of K products is off by at most (K + 2) u of the sum of their absolute values (u: half a unit in the last
    place); BF16 rounds each operand, and PyTorch the result, by 2^-9."""
    from safetensors.numpy import load_file
    with tempfile.TemporaryDirectory() as folder:
        ours, K = f"{folder}/ours.safetensors", int(shape.split(",")[2])
        call(plan.skintern("matmul", dtype, "--shape", shape, "--save", ours), plan.args.threads)
        stored = load_file(ours)
        a, b, out = (stored[name].astype(np.float64) for name in ("a", "b", "out"))
        results = {"ours": out}
        rivals = {"PyTorch": plan.torch("matmul", dtype)}
        if dtype == "f32":
            rivals["OpenBLAS"] = [sys.executable, HERE / "blas_rival.py"]
        for name, command in rivals.items():
            call(command + ["--shape", shape, "--operands", ours, "--save", f"{folder}/{name}.npy", "--threads",
                            plan.args.threads], plan.args.threads)
            results[name] = np.load(f"{folder}/{name}.npy")
    exact, most = a @ b.T, (np.abs(a) @ np.abs(b).T) * ((K + 2) * 2.0 ** -24 + (3 * 2.0 ** -9 if dtype == "bf16" else 0))
    shares = {name: float((np.abs(result - exact) / most).max()) for name, result in results.items()}
    return all(share <= 1 for share in shares.values()), "of the tolerated error: " + ", ".join(
        f"{name} {share:.2g}" for name, share in shares.items())


def check_train(plan, dtype):
    """Loss and norm of the gradient of one batch of 4 x 64 tokens with an adapter that is not zero. F32: 1e-4 of the
    value, some hundred roundings of 6e-8 that walk at random and the norm's cancellation; BF16 rounds to 2^-9 at every
    layer, differently in each program: 5 %."""
    tolerance = 1e-4 if dtype == "f32" else 5e-2
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        ids = rng.integers(plan.config["vocab_size"], size=(4, 64)).tolist()
        rows = [dict(ids=row, labels=[-100] * 48 + row[48:]) for row in ids]
        Path(f"{folder}/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lines, _ = call(plan.torch("train", dtype, "--model", plan.folders[dtype], "--save", f"{folder}/adapter",
                                   "--tokens", f"{folder}/rows.jsonl", "--threads", plan.args.threads), plan.args.threads)
        call([plan.args.skintern, "train", "--model", plan.paths[dtype], "--tokens", f"{folder}/rows.jsonl",
              "--adapter-init", f"{folder}/adapter", "--out", f"{folder}/out", "--steps", "1", "--batch-size", "4",
              "--no-shuffle", *(["--dtype", dtype] if dtype != "f32" else [])], plan.args.threads)
        theirs = json.loads(lines[-1])
        ours = json.loads(Path(f"{folder}/out/log.jsonl").read_text().splitlines()[0])
    off = {key: abs(ours[key] / theirs[key] - 1) for key in ("loss", "grad_norm")}
    return all(value <= tolerance for value in off.values()), \
        f"loss {ours['loss']:.5f} and {theirs['loss']:.5f}, gradient norm {ours['grad_norm']:.5f} and {theirs['grad_norm']:.5f}"


def check_logits(plan, kind, known={}):
    """Logits of 48 tokens. Computed in F32, 1e-4 of the largest logit is tolerated; where operands are rounded to BF16
    or, by llama.cpp, to 8 bits, the mean deviation may be 10 % of the logits' standard deviation."""
    if kind not in known:
        known[kind] = compare_logits(plan, kind)
    return known[kind]


def compare_logits(plan, kind):
    ids = " ".join(map(str, np.random.default_rng(8).integers(plan.config["vocab_size"], size=48)))
    path, threads = plan.paths[kind], plan.args.threads
    ours = [plan.args.skintern, "logits", "--model", path, "--ids", ids]
    commands = {"ours f32": (ours, "--out")}
    if kind != "f32":
        commands["ours bf16"] = (ours + ["--dtype", "bf16"], "--out")
        commands["llama.cpp"] = (plan.llama("logits", kind, "--ids", ids), "--save")
    if kind == "bf16":
        commands["transformers bf16"] = (plan.torch("logits", "bf16", "--model", plan.folders["bf16"], "--ids", ids), "--save")
    good, said = True, []
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/logits.npy"
        call(plan.torch("logits", "f32", "--model", path, "--ids", ids, "--save", out, "--threads", threads), threads)
        want = np.load(out)
        for name, (command, option) in commands.items():
            command = command + [option, out, "--threads", threads]
            try:
                call(command, threads)
            except Failed as failure:
                if name != "llama.cpp":
                    raise Failed(f"{name}: {failure}") from None
                call(command + ["--no-repack"], threads)
            difference = np.abs(np.load(out) - want)
            exact = name == "ours f32"
            off = float(difference.max() / np.abs(want).max() if exact else difference.mean() / want.std())
            good &= off <= (1e-4 if exact else 0.1)
            said.append(f"{name} {off:.1e}{'' if exact else ' (mean)'}")
    return good, "logits off by: " + ", ".join(said)


def check_continuations(args):
    """Greedy ids of 20 prompts beside transformers and llama.cpp in F32: tests/compare_smollm2.py."""
    command = [sys.executable, HERE.parent / "compare_smollm2.py", args.model, "--cache", args.cache / "smollm2", "--skintern",
               args.skintern, "--threads", args.threads, "--llama-python", args.llama_python]
    return subprocess.run([str(word) for word in command]).returncode == 0


# ---- the table ---------------------------------------------------------------------------------------------

def measure_machine(args, machine):
    """The roofs, {"f32": GFLOP/s, "bf16": GFLOP/s, "memory": GB/s}: the most that was seen so far."""
    lines, _ = call([args.skintern, "bench", "roof", "--json", "--threads", args.threads], args.threads)
    for row in map(json.loads, lines):
        name = row["dtype"] or "memory"
        machine[name] = max(machine.get(name, 0), row["max"])
    return machine


def run_group(group, args, machine):
    """Checks and measures; prints a line of the table for each pair, or why there is none. Returns the pairs."""
    try:
        if not args.no_checks:
            good, said = group.check()
            print(f"{'ok' if good else 'not ok'} {group.work}, {group.ours[0].name}: {said}", flush=True)
            if not good:
                return []
    except Failed as failure:
        print(f"not ok {group.work}: {failure}", flush=True)
        return []
    sides = group.ours + group.rivals
    for _ in range(args.rounds):
        try:
            measure_machine(args, machine)
        except Failed as failure:  # the roofs of before stand
            print(f"skipped the roofs of a round: {failure}", flush=True)
        for side in list(sides):
            wait_until_quiet(args.quiet_for)
            try:
                side.sample(args.threads)
            except Failed as failure:
                print(f"skipped {group.work}, {side.name}: {failure}", flush=True)
                sides.remove(side)
    pairs = [(group, ours, rival) for rival in group.rivals for ours in group.ours if ours in sides and rival in sides]
    for pair in pairs:
        print(LINE.format(**table_row(*pair, machine)), flush=True)
    return pairs


COLUMNS = ("work", "ours", "ours_median", "ours_best", "rival", "rival_median", "rival_best", "ratio", "ratio_best", "roof",
           "share", "ours_gb", "rival_gb", "others")
HEADER = dict(zip(COLUMNS, ("work", "ours", "median", "best", "rival", "median", "best", "ratio", "of best", "roof", "share", "GB",
                            "GB", "others")))
LINE = ("| {work:<24} | {ours:<22} | {ours_median:>8} | {ours_best:>8} | {rival:<26} | {rival_median:>8} | {rival_best:>8} | "
        "{ratio:>5} | {ratio_best:>7} | {roof:>8} | {share:>5} | {ours_gb:>5} | {rival_gb:>5} | {others:>6} |")


def table_row(group, ours, rival, machine):
    roof = group.roof(machine)
    number = lambda value: f"{value:.1f}" if value < 100 else f"{value:.0f}"
    others = max(sample["others"] for side in (ours, rival) for sample in side.samples)
    return dict(work=group.work, ours=ours.name, ours_median=number(ours.median()), ours_best=number(ours.best()),
                rival=rival.name, rival_median=number(rival.median()), rival_best=number(rival.best()),
                ratio=f"{ours.median() / rival.median():.2f}", ratio_best=f"{ours.best() / rival.best():.2f}",
                roof=number(roof), share=f"{100 * ours.best() / roof:.0f} %", ours_gb=f"{ours.memory():.2f}",
                rival_gb=f"{rival.memory():.2f}", others=f"{100 * others:.0f} %")


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "processor unknown"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file of SmolLM2 (make smollm2)")
    parser.add_argument("--cache", type=Path, default=Path("build/rivals"), help="folder for the other types of the model")
    parser.add_argument("--skintern", default="./skintern")
    parser.add_argument("--llama-python", default=sys.executable, help="a Python with llama-cpp-python; default: this one")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every program; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="processes a side")
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose work or names hold one of these words")
    parser.add_argument("--no-checks", action="store_true", help="time without comparing results")
    parser.add_argument("--continuations", action="store_true", help="compare greedy ids too (minutes)")
    parser.add_argument("--quiet-for", type=float, default=0, metavar="SECONDS", help="wait for a quiet machine at most so long")
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


def main():
    args = parse_arguments()
    if not args.model.exists():
        raise SystemExit(f"{args.model} is not there: `make smollm2` brings it")
    files.make(args.model, args.cache)
    try:
        machine = measure_machine(args, {})
    except Failed as failure:
        raise SystemExit(f"{args.skintern} bench roof: {failure}")
    if args.continuations and not check_continuations(args):
        return 1
    pairs = []
    for group in Plan(args).groups():
        names = " ".join([group.work] + [side.name for side in group.ours + group.rivals])
        if any(word in names for word in args.only):
            pairs += run_group(group, args, machine)
    if "" in args.only and (HERE / "bpe.py").exists():
        subprocess.run([sys.executable, str(HERE / "bpe.py")])
    print(f"\n{processor()}, {args.threads} threads; roofs: {machine['f32']:.0f} GFLOP/s in F32, {machine['bf16']:.0f} in BF16, "
          f"{machine['memory']:.1f} GB/s from memory; {args.rounds} rounds\n\n" + LINE.format(**HEADER))
    rows = [table_row(*pair, machine) for pair in pairs]  # with the roofs of the whole run
    for row in rows:
        print(LINE.format(**row))
    if args.json:
        args.json.write_text(json.dumps(dict(processor=processor(), threads=args.threads, roofs=machine, rows=rows), indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
