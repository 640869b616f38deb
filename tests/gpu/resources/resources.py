"""What the kernels use of a device, as ptxas tells it, against a table.

resources.py COMPILE_COMMANDS NVCC_VERSION ARCHITECTURES TABLE [--write]

Compiles every kernel for all ARCHITECTURES (75,80,...) with the product's options, which COMPILE_COMMANDS has. Fails where a kernel
spills, or where the table says something else. Exit code 77 when nvcc is not the one that the table was made with.
"""
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

OTHER_NVCC = 77
HEAD = """# What kernels use of a device

Of nvcc {version}, written by `resources.py`: registers of a thread on each architecture, bytes of shared memory of a block and of the
stack of a thread. No kernel spills.

"""


def device_command(entry, architectures, output):
    """The entry's command for all architectures, without the host's part."""
    words = shlex.split(entry["command"])
    words = words[next(i for i, word in enumerate(words) if word.endswith("nvcc")):]  # after ccache
    words = [word for word in words if word != "-c" and not word.startswith("--generate-code")]
    words[words.index("-o") + 1] = output
    return words + ["-fatbin", "-Xptxas=-v"] + [f"--generate-code=arch=compute_{a},code=[sm_{a}]" for a in architectures]


def uses_of(entry, architectures):
    """{mangled name: {architecture: {"registers", "shared", "stack", "spills"}}} of a source's kernels."""
    with tempfile.NamedTemporaryFile() as output:
        command = device_command(entry, architectures, output.name)
        run = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{entry['file']} does not compile:\n{run.stderr}")
    uses = {}
    use = {}
    for line in run.stderr.splitlines():
        if found := re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)'", line):
            use = uses.setdefault(found[1], {}).setdefault(found[2], {})
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            use["stack"] = int(found[1])
            use["spills"] = int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            use["registers"] = int(found[1])
            shared = re.search(r"(\d+) bytes smem", line)
            use["shared"] = int(shared[1]) if shared else 0
    return uses


def short_names(mangled):
    """Without namespaces and parameters."""
    run = subprocess.run(["c++filt", "-p", *mangled], capture_output=True, text=True, check=True)
    return [re.sub(r"^void |\w+::|\(int\)", "", name) for name in run.stdout.splitlines()]


def table_of(uses, version, architectures):
    head = ["kernel", *[f"sm_{a}" for a in architectures], "shared", "stack"]
    rows = []
    for name, by_architecture in zip(short_names(uses), uses.values()):
        each = [by_architecture[a] for a in architectures]
        spilling = [a for a, use in zip(architectures, each) if use["spills"] > 0]
        if spilling:
            sys.exit(f"{name} spills on sm_{', sm_'.join(spilling)}")
        one_or_range = ["-".join(map(str, sorted({min(v), max(v)}))) for v in ([use[key] for use in each] for key in ("shared", "stack"))]
        rows.append([f"`{name}`", *[str(use["registers"]) for use in each], *one_or_range])
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *sorted(rows)]
    return HEAD.format(version=version) + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main():
    commands, version, architectures, table = sys.argv[1:5]
    architectures = architectures.split(",")
    table = Path(table)
    write = sys.argv[5:] == ["--write"]
    if not write and f"Of nvcc {version}," not in table.read_text():
        print(f"the table was not made with nvcc {version}")
        sys.exit(OTHER_NVCC)
    uses = {}
    for entry in json.loads(Path(commands).read_text()):
        if "-x cu" in entry["command"] and "/tests/" not in entry["file"]:
            uses |= uses_of(entry, architectures)
    found = table_of(uses, version, architectures)
    if write:
        table.write_text(found)
        return
    changed = sorted(set(found.splitlines()) ^ set(table.read_text().splitlines()))
    if changed:
        sys.exit("\n".join(["the table says something else than ptxas:", *changed]))


main()
