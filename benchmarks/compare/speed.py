#!/usr/bin/env python3
"""Makes SPEED.md beside this script: training steps of minim beside the same steps of PyTorch, on one thread each, where minim's time
goes, and what a second rank adds.

usage: benchmarks/compare/run.sh speed [--models alexnet,resnet-50] [--rounds N] [--steps N] [--program FILE]

Both run in turn, so that what else happens on the machine hits both; figures are medians over all steps of all rounds. Rows that are not
asked for stay as they are in the file.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE / "SPEED.md"
# Batch, and steps that are timed together where single ones are too short.
MODELS = {"resnet-50": (16, 1), "resnet-18": (16, 1), "alexnet": (16, 1), "inception-v3": (16, 1), "lenet": (64, 50)}
MINIM, PYTORCH = ("fp32", "mixed", "bf16"), ("fp32", "bf16")
TRACES = 5  # of a step
SCALED = ("resnet-18", "alexnet", "lenet")  # by a second rank
# One bucket has its last gradient at the end of backward, and is gathered before the first kernel.
OVERLAP = {"overlapping": [], "one after the other": ["--bucket-mb", "4096"]}
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1")


def network_options(model, batch):
    if model == "lenet":
        return ["--model", "lenet", "--dataset", "synthetic", "--samples", str(16 * batch)]
    pixels = "299" if model == "inception-v3" else "224"
    return ["--model", model, "--dataset", "synthetic", "--image-size", pixels, "--channels", "3", "--classes", "1000", "--samples",
            str(4 * batch)]


def run(command):
    """Output and peak resident size in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, cwd=ROOT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{output}")
    return output, usage.ru_maxrss / 1024


def command(program, model, precision, steps, output, options=()):
    batch, together = MODELS[model]
    # A scale at which no step is skipped: a skipped one is shorter.
    scaling = ["--loss-scale", "128"] if precision == "mixed" else []
    return [program, "train", *network_options(model, batch), "--batch", str(batch), "--steps", str(steps),
            "--log-every", str(together), "--eval-every", "0", "--checkpoint-every", "1000000", "--precision", precision,
            "--threads", "1", "--lr", "0.0001", "--progress", "none", "--device", "cpu", "--output", output, *scaling, *options]


def metrics(output):
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    if any(record["event"] == "skip" for record in records):
        sys.exit(f"{output}: a step was skipped")
    return records


def train(program, model, precision, steps, output, options=()):
    """Trains into the directory `output`. Its metrics, and the peak resident size in MiB."""
    _, peak = run(command(program, model, precision, steps, output, options))
    return metrics(output), peak


def rates_of(records):
    """Images/s of single steps but the first two."""
    return [record["samples_per_second"] for record in records if record["event"] == "step"][2:]


def minim_steps(program, model, precision, steps):
    """Images/s of single steps, and the peak resident size in MiB."""
    with tempfile.TemporaryDirectory() as directory:
        records, peak = train(program, model, precision, (steps + 2) * MODELS[model][1], pathlib.Path(directory) / "run")
    return rates_of(records), peak


def step_parts(program, model, precision):
    """What the compute stream does in a traced step, and what lies between: kinds, operations and times, in order."""
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "run"
        train(program, model, precision, 4, output, ["--trace", "3"])
        events = json.loads((output / "trace.json").read_text())["traceEvents"]
    row = next(e["tid"] for e in events if e["name"] == "thread_name" and e["args"]["name"] == "compute")
    parts, end = [], None
    for event in events:
        if event["ph"] != "X" or event["tid"] != row:
            continue
        if end is not None:
            parts.append(("between", "", event["ts"] - end))
        kind = "kernels" if "kernel" in event["args"] else event["cat"]
        parts.append((kind, operation_of(event) if kind == "kernels" else "", event["dur"]))
        end = event["ts"] + event["dur"]
    return parts


def operation_of(event):
    """The column of the profile that a kernel belongs to."""
    kind, category = event["args"]["type"], event["cat"]
    if category == "update":
        return "update"
    if kind in ("conv2d", "linear"):
        return f"{kind} {category}"
    return kind if kind == "batch_norm" else "others"


def measure_parts(program, model, rounds):
    """Traces a step in each precision. Times in ms by kind, and by operation, and the number of kernels. Each part is the median over
    the rounds, so that other programs that interrupt one, here or there, do not count."""
    traced = {precision: [] for precision in PROFILED}
    for _ in range(rounds):
        for precision in PROFILED:
            traced[precision].append(step_parts(program, model, precision))
    found = {}
    for precision, rounds_of in traced.items():
        kinds, operations = dict.fromkeys(KINDS, 0), dict.fromkeys(OPERATIONS, 0)
        for part in zip(*rounds_of, strict=True):
            kind, operation, _ = part[0]
            time = statistics.median(time for _, _, time in part) / 1000
            kinds[kind] += time
            if operation:
                operations[operation] += time
        found[precision] = kinds, operations, sum(kind == "kernels" for kind, _, _ in rounds_of[0])
    return found


def side_by_side(commands):
    """Runs them at the same time."""
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, cwd=ROOT)
                 for c in commands]
    for process, each in zip(processes, commands, strict=True):
        output, _ = process.communicate()
        if process.returncode != 0:
            sys.exit(f"failed: {' '.join(map(str, each))}\n{output}")


def measure_scaling(program, model, rounds, steps):
    """Images/s of one rank, of two runs that have nothing to do with each other at the same time, and of two ranks."""
    rates = {}
    count = (steps + 2) * MODELS[model][1]
    for turn in range(rounds):
        for who in ("one", "two apart", *OVERLAP):
            with tempfile.TemporaryDirectory() as directory:
                outputs = [pathlib.Path(directory) / name for name in ("run", "other")]
                if who in OVERLAP:
                    mpirun = ["mpirun", "--oversubscribe", "--bind-to", "core", "-np", "2"]
                    side_by_side([mpirun + command(program, model, "mixed", count, outputs[0], OVERLAP[who])])
                    timed = rates_of(metrics(outputs[0]))
                else:
                    used = outputs if who == "two apart" else outputs[:1]
                    pinned = [["taskset", "-c", str(core)] for core in range(len(used))]
                    side_by_side([pin + command(program, model, "mixed", count, o) for pin, o in zip(pinned, used, strict=True)])
                    timed = [sum(both) for both in zip(*(rates_of(metrics(o)) for o in used), strict=True)]
            rates.setdefault(who, []).extend(timed)
            print(f"{model} round {turn + 1}: {who} {statistics.median(timed):.4g} images/s", flush=True)
    return {who: statistics.median(all_of) for who, all_of in rates.items()}


def pytorch_steps(model, precision, steps):
    batch, together = MODELS[model]
    output, peak = run([sys.executable, HERE / "pytorch_steps.py", model, precision, str(batch), "--steps", str(steps * together)])
    return [float(line) for line in output.split()], peak


def measure(program, model, rounds, steps):
    rates, peaks = {}, {}
    for turn in range(rounds):
        for who, precision in [("minim", p) for p in MINIM] + [("pytorch", p) for p in PYTORCH]:
            timed, peak = minim_steps(program, model, precision, steps) if who == "minim" else pytorch_steps(model, precision, steps)
            rates.setdefault((who, precision), []).extend(timed)
            peaks[who, precision] = max(peak, peaks.get((who, precision), 0))
            print(f"{model} round {turn + 1}: {who} {precision} {statistics.median(timed):.4g} images/s, {peak:.0f} MiB", flush=True)
    return {key: statistics.median(steps_of_all) for key, steps_of_all in rates.items()}, peaks


def processor():
    facts = dict(re.findall(r"^(model name|cpu family|model)\s*: (.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return f"{facts.get('model name', 'unknown')}, family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()


def provenance():
    # Not imported here: what this process holds when it starts another one counts in that one's peak.
    version = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__.split('+')[0])"], capture_output=True, text=True)
    return f"{datetime.date.today()}, `{commit()}`, PyTorch {version.stdout.strip()}, {processor()}"


KINDS = ("kernels", "copy", "wait", "between")
OPERATIONS = ("conv2d forward", "conv2d backward", "linear forward", "linear backward", "batch_norm", "others", "update")
PROFILED = ("fp32", "mixed")
TITLES = {
    "speed": """## Training steps, images/s

Medians. PyTorch: FP32, and BF16 by autocast, both with channels last. Synthetic images, SGD with momentum; the batch is {batches}.

| network | PyTorch fp32 | PyTorch bf16 | fp32 | mixed | bf16 | mixed / PyTorch fp32 | bf16 / PyTorch bf16 | mixed / fp32 | fp32 / PyTorch fp32 | measured |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|
""",
    "memory": """## Memory, MiB

The peak resident size of those processes, programs and libraries included.

| network | PyTorch fp32 | fp32 | mixed | bf16 | mixed / fp32 |
|---|---:|---:|---:|---:|---:|
""",
    "profile": """## Profile of a step, ms by operation

From traces of five steps or more in each precision, taken in turn: medians of each kernel, added up. mixed / fp32 of the step above is
bound by the products, whose arithmetic is FP32 in both.

| network | precision | """ + " | ".join(OPERATIONS) + """ | measured |
|---|---|""" + "---:|" * len(OPERATIONS) + """---|
""",
    "scaling": """## A second rank, images/s

Weak scaling in mixed precision: ranks of one thread on a core each, the batch of above on each of them. "two apart" are two runs of one
rank at the same time, which share the machine's memory and nothing else: what two ranks could reach. Without overlap there is one bucket,
which is reduced when backward has ended.

| network | one rank | two apart | two ranks | without overlap | two ranks / one | two ranks / two apart | without overlap / two apart | measured |
|---|---:|---:|---:|---:|---:|---:|---:|---|
""",
    "shares": """## Where a step's time goes, %

Of steps of minim in mixed precision, from traces of five of them or more: medians of each kernel and of each gap, added up. What is not
kernels is what the framework costs: copies of inputs, waits for collectives, of which one rank has some, too, and what is between these.

| network | in kernels | copying | waiting | between them | kernels | measured |
|---|---:|---:|---:|---:|---:|---|
""",
}


def speed_row(model, rates, when):
    own, other = {p: rates["minim", p] for p in MINIM}, {p: rates["pytorch", p] for p in PYTORCH}
    figures = [other["fp32"], other["bf16"], own["fp32"], own["mixed"], own["bf16"]]
    ratios = [own["mixed"] / other["fp32"], own["bf16"] / other["bf16"], own["mixed"] / own["fp32"], own["fp32"] / other["fp32"]]
    return " | ".join([f"| {model}", *(f"{f:.4g}" for f in figures), *(f"{r:.2f}" for r in ratios), f"{when} |"])


def memory_row(model, peaks):
    own = {p: peaks["minim", p] for p in MINIM}
    figures = [peaks["pytorch", "fp32"], own["fp32"], own["mixed"], own["bf16"]]
    return " | ".join([f"| {model}", *(f"{f:.0f}" for f in figures), f"{own['mixed'] / own['fp32']:.2f} |"])


def when():
    return f"{datetime.date.today()}, `{commit()}`, {processor()}"


def shares_row(model, times, kernels):
    shares = [100 * time / sum(times.values()) for time in times.values()]
    return f"| {model} | {' | '.join(f'{s:.2f}' for s in shares)} | {kernels} | {when()} |"


def profile_rows(model, parts):
    return "\n".join(f"| {model} | {precision} | {' | '.join(f'{time:.4g}' for time in operations.values())} | {when()} |"
                     for precision, (_, operations, _) in parts.items())


def scaling_row(model, rates):
    one, apart, overlapping, separate = (rates[who] for who in ("one", "two apart", *OVERLAP))
    ratios = [overlapping / one, overlapping / apart, separate / apart]
    figures = [f"{rate:.4g}" for rate in (one, apart, overlapping, separate)] + [f"{ratio:.2f}" for ratio in ratios]
    return f"| {model} | {' | '.join(figures)} | {when()} |"


def kept_rows():
    """Rows of the file as it is, by section and model."""
    rows = {section: {} for section in TITLES}
    text = RESULTS.read_text() if RESULTS.exists() else ""
    for section, title in TITLES.items():
        heading = title.splitlines()[0]
        if heading in text:
            part = text.split(heading)[1].split("\n## ")[0]
            for row in re.finditer(r"(?m)^\| (\S+) \|.*$", part):
                if row.group(1) in MODELS:
                    before = rows[section].get(row.group(1))
                    rows[section][row.group(1)] = f"{before}\n{row.group(0)}" if before else row.group(0)
    return rows


def write(rows):
    batches = "16, lenet's 64"
    text = "# minim beside PyTorch on the CPU\n\nOne thread each, in turn on the same machine; written by `benchmarks/compare/run.sh speed`.\n"
    for section, title in TITLES.items():
        text += "\n" + title.format(batches=batches) + "".join(rows[section][m] + "\n" for m in MODELS if m in rows[section])
    RESULTS.write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each round")
    parser.add_argument("--program", default=ROOT / "build/release/launcher/minim")
    arguments = parser.parse_args()
    rows = kept_rows()
    for model in arguments.models.split(","):
        rates, peaks = measure(arguments.program, model, arguments.rounds, arguments.steps)
        rows["speed"][model] = speed_row(model, rates, provenance())
        rows["memory"][model] = memory_row(model, peaks)
        write(rows)
        parts = measure_parts(arguments.program, model, TRACES)
        kinds, _, kernels = parts["mixed"]
        rows["shares"][model] = shares_row(model, kinds, kernels)
        rows["profile"][model] = profile_rows(model, parts)
        if model in SCALED:
            rows["scaling"][model] = scaling_row(model, measure_scaling(arguments.program, model, arguments.rounds, arguments.steps))
        write(rows)


if __name__ == "__main__":
    main()
