#!/usr/bin/env python3
"""Makes RESULTS.md beside this script: what mixed precision costs and gains, measured on this machine.

usage: benchmarks/results.py [--build DIR] [--runs DIR] [--epochs N] [--models lenet,resnet-18] [--only accuracy,techniques,memory,speed]

Training runs that are already under --runs are not repeated, so an interrupted call can be continued. Sections that are not asked for
with --only stay as they are in the file, and so does speed measured on other processors; each says when, where and at which commit it
was measured.
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {
    "fp32": ["--precision", "fp32"],
    "mixed, dynamic scale": ["--precision", "mixed", "--loss-scale", "dynamic"],
    "mixed, scale 128": ["--precision", "mixed", "--loss-scale", "128"],
    "mixed, no scaling": ["--precision", "mixed", "--loss-scale", "off"],
    "fp16, no master weights": ["--precision", "fp16", "--loss-scale", "dynamic"],
}
MODELS = {"lenet": ["--model", "lenet"], "resnet-18": ["--model", "resnet-18", "--width", "16"]}
SEEDS = (1, 2, 3)


def environment():
    env = dict(os.environ)
    if os.geteuid() == 0:
        env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return env


def call(command, **options):
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    return subprocess.run(list(map(str, command)), check=True, env=environment(), cwd=ROOT, **options)


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()


COMMIT = output_of("git", "rev-parse", "--short", "HEAD")  # at the start: what was built then is what runs


def processor():
    facts = dict(re.findall(r"^(model name|cpu family|model)\s*: (.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return f"{facts.get('model name', 'unknown')}, family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"


def provenance():
    return f"Measured on {datetime.date.today().isoformat()} at commit `{COMMIT}`, on {os.cpu_count()} cores of {processor()}."


def place_of(part):
    """Where a section stands: its number and, where speed is measured, the processor."""
    number = int(part.removeprefix("## ").split(".", 1)[0])
    found = re.search(r"^Measured on .* cores of (.+)\.$", part, re.MULTILINE) if number == SPEED else None
    return number, found[1] if found else ""


def mpirun(ranks, *command, bind="core"):
    return ["mpirun", "--oversubscribe", "--bind-to", bind, "-np", ranks, *command]


def last_evaluation(run):
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [event for event in events if event.get("event") == "evaluation"][-1]


def train(build, run, model, variant, seed, epochs):
    if not (run / "finished").exists():
        if run.exists():
            call(["rm", "-r", run])
        call(mpirun(2, build / "launcher/minim", "train", *MODELS[model], *VARIANTS[variant], "--seed", seed, "--epochs", epochs,
                    "--output", run, "--progress", "none", bind="none"), stdout=subprocess.DEVNULL)
        (run / "finished").write_text(COMMIT)
    return last_evaluation(run) | {"commit": (run / "finished").read_text()}


def accuracy_section(arguments):
    lines = ["## 1. Accuracy on Fashion-MNIST", "",
             f"Two ranks, {arguments.epochs} epochs, default options otherwise; test accuracy in % after the last epoch, every run listed.", ""]
    for model in arguments.models:
        lines += [f"`{' '.join(MODELS[model])}`", "", "| variant | " + " | ".join(f"seed {s}" for s in SEEDS) + " | mean | skipped steps |",
                  "|---" * (len(SEEDS) + 3) + "|"]
        means, noise, commits = {}, 0.0, set()
        for variant in VARIANTS:
            runs = [train(arguments.build, arguments.runs / f"{model}-{variant.replace(', ', '-').replace(' ', '-')}-{seed}", model, variant,
                          seed, arguments.epochs) for seed in SEEDS]
            values = [100 * run["accuracy"] for run in runs]
            means[variant] = statistics.mean(values)
            if variant == "fp32":
                noise = max(values) - min(values)
            commits |= {run["commit"] for run in runs}
            skipped = " / ".join(str(run["skipped"]) for run in runs)
            lines.append(f"| {variant} | " + " | ".join(f"{v:.2f}" for v in values) + f" | {means[variant]:.2f} | {skipped} |")
        difference = abs(means["mixed, dynamic scale"] - means["fp32"])
        verdict = "within" if difference <= noise else "**outside**"
        lines += ["", f"Noise, the range of fp32 over the seeds: {noise:.2f}. |mean(mixed) - mean(fp32)| = {difference:.2f}: {verdict} it. "
                  f"Runs made at {', '.join(f'`{c}`' for c in sorted(commits))}.", ""]
    return lines


def techniques_section(arguments):
    file = arguments.runs / "techniques.json"
    call([arguments.build / "benchmarks/techniques_bench", "--json", file], stdout=subprocess.DEVNULL)
    lines = ["## 2. Leaving a technique out", "", "| construction | variant | first loss | last loss | weights that moved |", "|---|---|---|---|---|"]
    for row in json.loads(file.read_text()):
        lines.append(f"| {row['construction']} | {row['variant']} | {row['first_loss']:.4f} | {row['last_loss']:.4f} | "
                     f"{100 * row['weights_moved']:.0f} % |")
    return lines + [""]


KINDS = ("weights", "master weights", "moments", "gradients", "activations", "workspace", "state", "input", "staging")
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def allocated(arguments, options, precision):
    """Bytes by kind that rank 0 of two had allocated, from the table at the end of a run of two steps."""
    run = arguments.runs / "memory"
    call(["rm", "-rf", run])
    text = call(mpirun(2, arguments.build / "launcher/minim", "train", *options, "--precision", precision, "--steps", 2, "--output", run,
                       "--progress", "plain", bind="none"), capture_output=True, text=True).stdout
    rows = {}
    for line in text.splitlines():
        for kind in KINDS:
            words = line.removeprefix(kind).split()
            if line.startswith(kind + " ") and len(words) == 2 and words[1] in UNITS:
                rows[kind] = float(words[0]) * UNITS[words[1]]
    return rows


def memory_section(arguments):
    lines = ["## 3. Memory of a step", "", "MiB that one of two ranks had allocated during a training step, by purpose.", ""]
    networks = {"`resnet-18`, width 16, batch 64": MODELS["resnet-18"] + ["--batch", 64],
                "`resnet-50`, 224 x 224, batch 16": ["--model", "resnet-50", "--dataset", "synthetic", "--image-size", 224, "--channels", 3,
                                                     "--classes", 1000, "--samples", 64, "--batch", 16]}
    for network, options in networks.items():
        fp32, mixed = (allocated(arguments, options, precision) for precision in ("fp32", "mixed"))
        lines += [network, "", "| | fp32 | mixed | mixed / fp32 |", "|---|---|---|---|"]
        for kind in KINDS:
            before, after = fp32.get(kind, 0.0), mixed.get(kind, 0.0)
            ratio = f"{after / before:.2f}" if before else "-"
            lines.append(f"| {kind} | {before / 2**20:.2f} | {after / 2**20:.2f} | {ratio} |")
        before, after = sum(fp32.values()), sum(mixed.values())
        lines += [f"| all | {before / 2**20:.1f} | {after / 2**20:.1f} | {after / before:.2f} |", ""]
    return lines + ["What keeps the whole above one half: FP32 master weights come on top and moments stay FP32; normalisation keeps its "
                    "parameters, statistics and gradients in FP32; the workspace holds the FP32 scratch of converted chunks; the positions "
                    "of pooling maxima take a byte each in both.", ""]


SPEED = 4
SHARED_CACHE_NS = 120  # two cores that are nearer share a last-level cache


def reduce_verdict(rows):
    largest = rows[-1]
    shared = largest["core_distance_ns"] < SHARED_CACHE_NS
    wanted = 5 if shared else 3
    ratio = largest["tuned_over_fp16"]
    slowest = min(rows, key=lambda row: row["tuned_over_fp16"])
    return [f"At {largest['elements']} elements FP16 is {ratio:.2f} times as fast as tuned MPI in FP32, with cores "
            f"{largest['core_distance_ns']:.0f} ns apart that {'share' if shared else 'do not share'} a cache; the aim there is {wanted}: "
            f"{'met' if ratio >= wanted else '**missed**'}. The smallest ratio from 512 elements up is {slowest['tuned_over_fp16']:.2f}, at "
            f"{slowest['elements']} elements; the aim is never below 1: {'met' if slowest['tuned_over_fp16'] >= 1 else '**missed**'}.", ""]


def speed_section(arguments):
    reduce_file, update_file = arguments.runs / "all_reduce.json", arguments.runs / "update.json"
    for file in (reduce_file, update_file):
        file.unlink(missing_ok=True)
    table = call(mpirun(2, arguments.build / "benchmarks/all_reduce_bench", "--json", reduce_file), capture_output=True, text=True).stdout
    four = call(mpirun(4, arguments.build / "benchmarks/all_reduce_bench", bind="none"), capture_output=True, text=True).stdout
    update = call([arguments.build / "benchmarks/update_bench", "--json", update_file], capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in reduce_file.read_text().splitlines()]
    return ["## 4. FP16 all-reduce and the fused update", "", "Two ranks, each bound to a core:", "", "```", table.rstrip(), "```", "",
            *reduce_verdict(rows), "Four ranks on the same cores, reported only:", "", "```", four.rstrip(), "```", "",
            "The fused Adam pass, 28 bytes a parameter, against an in-place update of as many bytes, one thread; the aim is 0.9 of its "
            "bandwidth:", "", "```", update.rstrip(), "```", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs/results")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--only", type=lambda text: text.split(","), default=["accuracy", "techniques", "memory", "speed"])
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    sections = {"accuracy": accuracy_section, "techniques": techniques_section, "memory": memory_section, "speed": speed_section}
    results = ROOT / "benchmarks/RESULTS.md"
    kept = results.read_text().split("\n## ")[1:] if results.exists() else []
    parts = {place_of(part): ("## " + part).strip() for part in kept}
    for number, (name, section) in enumerate(sections.items(), start=1):
        if name in arguments.only:
            title, *lines = section(arguments)
            part = "\n".join([title, "", provenance(), *lines]).strip()
            parts[place_of(part)] = part
    header = "# Results\n\nMade by `benchmarks/results.py`."
    results.write_text("\n\n".join([header, *(parts[place] for place in sorted(parts))]) + "\n")


if __name__ == "__main__":
    main()
