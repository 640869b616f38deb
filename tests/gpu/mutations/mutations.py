"""Plants faults in the CUDA path, one at a time, and looks which test notices.

mutations.py SCRATCH [TEXT]

Every wait of the host's code and every barrier of a kernel is left out in turn; `replacements.txt` has other faults. Not taken are
waits that only a failure leads to: those in a `catch` block or in a function that is `noexcept`.

Works on a copy of the tree in the folder SCRATCH, which has builds of its own and keeps results: a second run goes on where the first
has ended, and does again what has changed. In a new folder the table's rows count as results for files that are as they were when it
was last committed. With TEXT, mutations whose file or statement contains it are run anew, and no others.
The cheapest tests come first, for all mutations; what they have not noticed is left to the next ones.
Writes the table MUTATIONS.md, beside this folder, from all results there are. `reasons.txt` says why a mutation goes unnoticed.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TABLE = HERE.parent / "MUTATIONS.md"

# The most telling first.
HOST = [
    "runtime/src/cuda/cuda_stream.cpp",
    "runtime/src/cuda/cuda_event.cpp",
    "runtime/src/cuda/cuda_backend.cpp",
    "optimizer/src/sharded_optimizer.cpp",
    "comm/src/nccl/nccl_collectives.cpp",
    "comm/src/nccl/nccl_communicator.cpp",
    "comm/src/queued_communicator.cpp",
    "comm/src/group_communicator.cpp",
    "launcher/src/trainer.cpp",
    "launcher/src/command/experiment.cpp",
    "launcher/src/evaluator.cpp",
]
KERNELS = ["runtime/src/cuda/*.cu", "runtime/src/cuda/*.cuh", "comm/src/nccl/*.cu", "optimizer/src/cuda/*.cu", "optimizer/src/cuda/*.cuh"]
BARRIER = re.compile(r"\b__sync(threads|warp)\(")
WAIT = re.compile(
    r"(\.|->)(wait|wait_for|precede|synchronize|record|drain)\(|\b(settle|wait_driving|drain|cuda(StreamSynchronize|StreamWaitEvent|EventRecord))\(")
RECORD = re.compile(r"[\w.]+(->|\.)record\(\)")


@dataclass(frozen=True)
class Step:
    """Tests of one build, and what has to be built for them."""
    preset: str
    targets: str
    tests: str  # a pattern of ctest's
    filter: str = "*"  # of GoogleTest's

    @property
    def name(self):
        plain = re.sub(r"[\\^$]|\.$", "", self.tests)
        return plain if self.filter == "*" else f"{plain} ({self.filter})"


ON_DOUBLES = "minim_kernels_emulated double_cudnn double_cublaslt double_nccl"
PROGRAM = f"minim_program {ON_DOUBLES} double_nvtx"
LAUNCHER = Step("cuda", "launcher_tests", r"^(Trainer|StepAhead|Ranks/WorldSize)\.")
OPTIMIZER = Step("cuda", "optimizer_tests", r"^(ShardedOptimizer|.*Overlap|Traffic|CheckGradients|ApplyUpdate|LossScaler|Agreement)")
COMM = Step("cuda", "comm_tests", r"^(QueuedCommunicator|.*DeviceCollectives|Groups/.*AnInputThatFails)")
END_TO_END = Step("cuda", "minim_program", r"^minim\.(train|preemption)$")
CHECKPOINT = Step("cuda", "launcher_tests", r"^(Checkpoint|SavedRun)\.")
BACKEND = Step("cuda", f"cuda_backend_tests {ON_DOUBLES}", r"^cuda_backend\.(eager|lazy)$")
KERNEL = Step("cuda", f"cuda_kernel_tests {ON_DOUBLES}", r"^cuda_kernels\.eager$")
KERNEL_RANDOM = Step("cuda", f"cuda_backend_tests cuda_kernel_tests {ON_DOUBLES}", r"^cuda_(backend|kernels)\.random:1$")
NCCL = Step("cuda", f"nccl_tests {ON_DOUBLES}", r"^nccl\.eager$", "Nccl/Nccl.*:Optimizer*:Nccl/Conformance.*")
NCCL_FAILURE = Step("cuda", f"nccl_tests {ON_DOUBLES}", r"^nccl\.eager$", "Nccl/ConformanceUnderFailure.*")
TRAINER = Step("cuda", f"nccl_trainer_tests {ON_DOUBLES}", r"^nccl_trainer\.(eager|lazy)$")
TRAIN = Step("cuda", PROGRAM, r"^nccl_train\.")
FAULTS = Step("cuda", f"nccl_lost_rank cuda_fault_tests {PROGRAM}", r"^nccl_lost_rank\.|^nccl_faults\.|^CudaFaults\.")
TSAN = Step("cuda-tsan", PROGRAM, r"^tsan_train\.lazy$")

# The first that fits a file.
STEPS = [
    (r"^comm/.*\.cu$", [NCCL, TRAINER, TSAN]),
    (r"^optimizer/.*\.cuh?$", [KERNEL, TSAN, KERNEL_RANDOM, TRAINER]),
    (r"\.cuh?$", [BACKEND, KERNEL, TSAN, KERNEL_RANDOM, TRAINER]),
    (r"graph_cache", [BACKEND, TRAIN, TSAN]),
    (r"^runtime/src/cuda/", [BACKEND, TRAINER, NCCL, FAULTS, TSAN, TRAIN]),
    (r"^comm/src/nccl/", [NCCL, TRAINER, FAULTS, NCCL_FAILURE, TSAN, TRAIN]),
    (r"^comm/", [COMM, NCCL, TRAINER, FAULTS, NCCL_FAILURE, TSAN, TRAIN]),
    (r"^optimizer/", [OPTIMIZER, LAUNCHER, TRAINER, TSAN, NCCL, TRAIN]),
    (r"^launcher/.*(command|evaluator)", [END_TO_END, TRAIN, FAULTS, TSAN]),
    (r"^launcher/.*checkpoint", [CHECKPOINT, FAULTS, TSAN]),
    (r"^launcher/", [LAUNCHER, TRAINER, TRAIN, FAULTS, TSAN]),
]


@dataclass
class Mutation:
    path: str
    line: int  # from 0
    statement: str
    replacement: str  # of the line

    def __post_init__(self):
        lines = (ROOT / self.path).read_text().splitlines()
        self.count = sum(line.strip() == self.statement for line in lines[:self.line])
        self.function = function_of(lines, self.line)
        self.key = f"{self.path} | {self.statement} | {self.count} | {self.replacement.strip()}"
        self.steps = next(steps for pattern, steps in STEPS if re.search(pattern, self.path))


def without_comment(line):
    return line.split("//")[0].strip()


def function_of(lines, at):
    """The nearest line above that opens a function: a name, parameters, and a brace or initialisers at the end."""
    text = "\n".join(lines[:at + 1])
    opens = re.compile(
        r"^ *(?:[\w:<>*&,\[\] ]+ )?(?:__launch_bounds__\(\w+\)\s+)?([~\w:]+)\((?:[^(){};]|\([^(){};]*\))*\)(?: const| noexcept| override)*(?:\n? +: | \{)",
        re.M)
    names = [found[1] for found in opens.finditer(text) if found[1] not in ("if", "for", "while", "switch", "catch")]
    return names[-1] if names else "?"


def starts_statement(lines, at):
    before = next((code for line in reversed(lines[:at]) if (code := without_comment(line))), ";")
    return before[-1] in ";{}:"


def only_after_failure(lines, at):
    """Whether a block around the line is one of `catch` or of a function that is `noexcept`."""
    depth = 0
    for line in reversed(lines[:at]):
        code = without_comment(line)
        depth += code.count("}") - code.count("{")
        if depth < 0:
            if re.search(r"\bcatch \(|\bnoexcept\b", code):
                return True
            depth = 0
        elif depth == 0 and re.match(r"\} catch \(", code):
            return True
    return False


def found_in(path):
    """Statements with a line of their own are skipped; instead of an event that is recorded, one is taken that has happened."""
    lines = (ROOT / path).read_text().splitlines()
    kernel = path.endswith((".cu", ".cuh"))
    for at, line in enumerate(lines):
        code = without_comment(line)
        if not (BARRIER if kernel else WAIT).search(code) or not starts_statement(lines, at) or only_after_failure(lines, at):
            continue
        if RECORD.search(code) and not re.search(r"wait|precede", code):
            yield Mutation(path, at, line.strip(), RECORD.sub(r"(static_cast<void>(\g<0>), Event())", line))
        elif code.endswith(";") and not re.match(r"\}|(return|const|auto|void)\b", code):
            yield Mutation(path, at, line.strip(), re.sub(r"\S", r"if (false) \g<0>", line, count=1))


def replacements():
    for path, text, replacement in entries_of("replacements.txt"):
        lines = (ROOT / path).read_text().splitlines()
        at = [i for i, line in enumerate(lines) if text in line]
        if len(at) != 1:
            sys.exit(f"replacements.txt: {path} has {len(at)} lines with: {text}")
        line = lines[at[0]]
        yield Mutation(path, at[0], line.strip(), line.replace(text, replacement))


def entries_of(name):
    for line in (HERE / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield [part.strip() for part in line.split(" | ")]


def reasons_for(mutations):
    reasons = {}
    for path, statement, replacement, reason in entries_of("reasons.txt"):
        found = [m for m in mutations if m.path == path and statement in m.statement and replacement in m.replacement]
        if not found:
            sys.exit(f"reasons.txt: {path} has no mutation of: {statement}")
        reasons.update({mutation.key: reason for mutation in found})
    return reasons


def all_mutations():
    paths = HOST + sorted(str(path.relative_to(ROOT)) for pattern in KERNELS for path in ROOT.glob(pattern))
    mutations = [mutation for path in paths for mutation in found_in(path)] + list(replacements())
    for mutation in mutations:
        if mutation.path not in paths:
            paths.append(mutation.path)
    return sorted(mutations, key=lambda mutation: (paths.index(mutation.path), mutation.line))


class Scratch:
    """A copy of the tree with a build of each preset."""

    def __init__(self, folder):
        self.tree = folder / "tree"
        self.kept_limits = folder / "limits.json"
        self.limits = json.loads(self.kept_limits.read_text()) if self.kept_limits.exists() else {}
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.splitlines():
            self.restore(name)

    def restore(self, name):
        source, target = ROOT / name, self.tree / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def plant(self, mutation):
        file = self.tree / mutation.path
        lines = file.read_text().splitlines()
        lines[mutation.line] = mutation.replacement
        file.write_text("\n".join(lines) + "\n")

    def run(self, command, limit, environment=None):
        """(exit code, output); the code is None where it does not end in time."""
        process = subprocess.Popen(command, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env={**os.environ, **(environment or {})}, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)  # ctest's tests have groups of their own
            output, _ = process.communicate()
            return None, output

    def build(self, step):
        if not (self.tree / "build" / step.preset / "CMakeCache.txt").exists():
            self.run(["cmake", "--preset", step.preset], 600)
        ended = self.run(["cmake", "--build", f"build/{step.preset}", "-j1", "--target", *step.targets.split()], 7200)
        if ended[0] != 0:
            print(ended[1][-3000:])
        return ended[0] == 0

    def limit(self, step):
        """Seconds that the tests may take; found out by running them without a mutation."""
        if step.name not in self.limits:
            if not self.build(step):
                sys.exit("the tree does not build")
            begin = time.monotonic()
            if noticed := self.test(step, 3600):
                sys.exit(f"{noticed} fails without a mutation")
            self.limits[step.name] = 20 + 3 * (time.monotonic() - begin)
            self.kept_limits.write_text(json.dumps(self.limits, indent=1))
        return self.limits[step.name]

    def test(self, step, limit):
        """What fails, or None."""
        command = ["ctest", "--test-dir", f"build/{step.preset}", "--stop-on-failure", "--output-on-failure", "--no-tests=error", "-R", step.tests]
        ended = self.run(command, limit, {"GTEST_FILTER": step.filter} if step.filter != "*" else None)
        if ended[0] is None:
            return f"`{re.findall(r'Start +[0-9]+: (.*)', ended[1])[-1]}` does not end"
        if ended[0] == 0:
            return None
        failed = re.search(r"\d+ - (\S+).*\((\w+)\)", ended[1].split("The following tests FAILED")[-1])
        if not failed:
            sys.exit(f"ctest failed:\n{ended[1]}")
        parts = re.findall(r"\[  FAILED  \] ([\w/]+\.[\w/]+)", ended[1])[:1] or re.findall(r"\[ RUN      \] ([\w/]+\.[\w/]+)", ended[1])[-1:]
        said = re.search(r"(?:WARNING: (ThreadSanitizer: .*?)(?: \(pid|\n))|(?:^(?:\S+: )?(double: .*?)(?:, at |$))", ended[1], re.M)
        noticed = f"`{failed[1]}`"
        if parts and parts[0] not in failed[1]:
            noticed += f" {parts[0]}"
        if said:
            noticed += ", " + (said[1] or said[2])
        return noticed + (" does not end" if failed[2] == "Timeout" else "")

    def judge(self, mutation, step):
        """What fails, or None."""
        limit = self.limit(step)
        self.plant(mutation)
        try:
            return self.test(step, limit) if self.build(step) else "does not compile"
        finally:
            self.restore(mutation.path)


def text_of(mutation):
    before, after = (code.split("  //")[0] for code in (mutation.statement, mutation.replacement.strip()))
    after = re.sub(r"\(static_cast<void>\([\w.>-]+\(\)\), Event\(\)\)", "Event()", after)
    text = f"`{before}`" if after == f"if (false) {before}" else f"`{before}` → `{after}`"
    if mutation.count > 0:
        text += f" (no. {mutation.count + 1})"
    return text.replace("|", "\\|")


def row_start(mutation):
    return f"| {mutation.path} | {mutation.function} | {text_of(mutation)} | "


def results_of_table(mutations, hashes):
    """What the table says of files that have not changed since it was committed."""
    git = lambda *arguments: subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    written = git("log", "-1", "--format=%H", "--", TABLE).stdout.strip()
    lines = TABLE.read_text().splitlines() if written else []
    results = {}
    for mutation in mutations:
        row = next((line for line in lines if line.startswith(row_start(mutation))), None)
        if row is None or row.endswith("| not run |") or git("diff", "--quiet", written, "--", mutation.path).returncode != 0:
            continue
        said = row.removeprefix(row_start(mutation)).removesuffix(" |")
        result = results[mutation.key] = {"hash": hashes[mutation.path], "passed": []}
        if said.startswith("**not noticed**"):
            missing = re.match(r".*?\(not run: ([^:]*?)\)(:|$)", said)
            left_out = missing[1] if missing else ""
            result["passed"] = [step.name for step in mutation.steps if step.name.replace("|", "/") not in left_out]
        else:
            result["noticed"] = said
    return results


def write_table(mutations, results, reasons):
    rows = []
    sums = {"noticed": 0, "not noticed, with a reason": 0, "not noticed": 0, "not run": 0}
    for mutation in mutations:
        result = results.get(mutation.key, {"passed": []})
        reason = reasons.get(mutation.key)
        if noticed := result.get("noticed"):
            kind, says = "noticed", noticed
        elif not result["passed"]:
            kind, says = "not run", "not run"
        else:
            missing = [step.name for step in mutation.steps if step.name not in result["passed"]]
            kind = "not noticed, with a reason" if reason else "not noticed"
            says = "**not noticed**" + (f" (not run: {', '.join(missing)})" if missing else "") + (f": {reason}" if reason else "")
        sums[kind] += 1
        rows.append(f"{row_start(mutation)}{says.replace('|', '/')} |")
    head = [
        "# Faults planted in the CUDA path, one at a time", "",
        "Written by `mutations/mutations.py`. A statement alone was left out; `a` → `b` says what took its place. Who notices first, in the order "
        "of the steps there, is named.", "",
        f"{len(rows)} planted: " + ", ".join(f"{count} {kind}" for kind, count in sums.items() if count > 0) + ".", "",
        "| file | function | fault | noticed by |", "|---|---|---|---|"
    ]
    TABLE.write_text("\n".join(head + rows) + "\n")


def main():
    folder = Path(sys.argv[1]).resolve()
    text = sys.argv[2] if len(sys.argv) > 2 else ""
    kept = folder / "results.json"
    mutations = all_mutations()
    reasons = reasons_for(mutations)
    hashes = {m.path: hashlib.sha256((ROOT / m.path).read_bytes()).hexdigest() for m in mutations}
    results = json.loads(kept.read_text()) if kept.exists() else results_of_table(mutations, hashes)
    results = {m.key: results[m.key] for m in mutations if results.get(m.key, {}).get("hash") == hashes[m.path]}
    chosen = [m for m in mutations if text in m.key]
    for mutation in chosen:
        if text or mutation.key not in results:
            results[mutation.key] = {"hash": hashes[mutation.path], "passed": []}
    write_table(mutations, results, reasons)
    scratch = Scratch(folder)
    most = max(len(mutation.steps) for mutation in mutations)
    # What nobody is expected to notice comes last.
    for number, expected in [(number, expected) for expected in (False, True) for number in range(most)]:
        for mutation in chosen:
            if (mutation.key in reasons) != expected:
                continue
            result = results[mutation.key]
            step = mutation.steps[number] if number < len(mutation.steps) else None
            if result.get("noticed") or step is None or step.name in result["passed"]:
                continue
            begin = time.monotonic()
            if noticed := scratch.judge(mutation, step):
                result["noticed"] = noticed
            else:
                result["passed"].append(step.name)
            print(f"[{time.monotonic() - begin:.0f} s] {mutation.key}: {noticed or 'passes ' + step.name}", flush=True)
            kept.write_text(json.dumps(results, indent=1))
            write_table(mutations, results, reasons)


if __name__ == "__main__":
    main()
