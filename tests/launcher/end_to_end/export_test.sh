# Exported weights are read by another implementation of the format: bash export_test.sh MINIM MPIEXEC PYTHON.
. "$(dirname "$0")/harness.sh"
python=$3
reader=$(dirname "$0")/../read_safetensors.py

expect 0 train.log ranks 2 train --model resnet-18 --width 4 --dataset synthetic --samples 64 --batch 8 --steps 3 --output run
for dtype in fp16 fp32; do
  expect 0 "$dtype.log" "$minim" export run "$dtype.safetensors" --dtype "$dtype"
  expect 0 "$dtype.json" "$python" "$reader" "$dtype.safetensors"
done

"$python" - fp16.safetensors fp32.safetensors <<'PYTHON' || fail "the exported files are not what they should be"
import sys
import numpy
from safetensors.numpy import load_file

half, single = (load_file(path) for path in sys.argv[1:])
assert half.keys() == single.keys() and len(half) > 60, sorted(half)
convolution = next(name for name in single if name.endswith("conv1.weight"))
assert single[convolution].shape == (4, 1, 3, 3), (convolution, single[convolution].shape)  # [O, C, KH, KW]
for name, values in single.items():
    assert values.dtype == numpy.float32 and half[name].dtype == numpy.float16, name
    assert numpy.isfinite(values).all(), name
    assert numpy.array_equal(half[name], values.astype(numpy.float16)), f"{name}: not rounded to nearest even"
assert any(numpy.ptp(values) > 0 for values in single.values())
PYTHON

# Exported weights can be evaluated and trained on as any others.
network=(--model resnet-18 --width 4 --dataset synthetic --samples 64 --batch 5)
expect 0 run.log ranks 2 eval run --batch 5 --logits run.logits
expect 0 file.log ranks 1 eval fp32.safetensors "${network[@]}" --precision mixed --logits file.logits
"$python" - run.logits file.logits <<'PYTHON' || fail "the logits are not what they should be"
import sys
import numpy
from safetensors.numpy import load_file

run, file = (load_file(path)["logits"] for path in sys.argv[1:])
assert run.shape == (16, 10) and run.dtype == numpy.float32, (run.shape, run.dtype)
assert numpy.isfinite(run).all() and numpy.ptp(run) > 0
# The run's statistics are averaged over its ranks by both, its weights rounded to FP16 by both.
assert numpy.array_equal(run, file), numpy.abs(run - file).max()
PYTHON
expect 0 single.log ranks 2 eval run --batch 5 --precision fp32
expect 0 tuned.log ranks 2 train --weights fp32.safetensors "${network[@]}" --steps 2 --progress plain --output tuned
contains tuned.log "starting from the weights in fp32.safetensors"
expect 2 other.log ranks 2 train --weights fp32.safetensors "${network[@]}" --width 8 --steps 2 --output other
contains other.log 'fp32.safetensors: "conv1.weight" has shape [4, 1, 3, 3], the model wants [8, 1, 3, 3]'
expect 2 missing.log ranks 2 train --weights missing.safetensors "${network[@]}" --steps 2 --output other
contains missing.log "missing.safetensors"

# A run that keeps averages of its weights is evaluated and exported with them.
averaging=(train --model lenet --dataset synthetic --samples 64 --batch 8 --steps 6 --eval-every 6)
expect 0 plain.log ranks 1 "${averaging[@]}" --output plain
expect 0 averaged.log ranks 1 "${averaging[@]}" --output averaged --ema-decay 0.5
expect 0 averaged_eval.log ranks 1 eval averaged
expect 0 averaged_export.log "$minim" export averaged averaged.safetensors
expect 0 averaged_file.log ranks 1 eval averaged.safetensors --model lenet --dataset synthetic --samples 64 --batch 8
"$python" - averaged_eval.log averaged_file.log averaged plain <<'PYTHON' || fail "averages of weights are not what is evaluated"
import json
import re
import sys

def last_of(run):
    records = [json.loads(line) for line in open(f"{run}/metrics.jsonl")]
    steps = [record["loss"] for record in records if record["event"] == "step"]
    return steps, [record["loss"] for record in records if record["event"] == "evaluation"][-1]

shown = [re.search(r"test loss ([0-9.]+)", open(log).read())[1] for log in sys.argv[1:3]]
(steps, averaged), (plain_steps, plain) = last_of(sys.argv[3]), last_of(sys.argv[4])
assert shown == [f"{averaged:.4f}"] * 2, (shown, averaged)
assert steps == plain_steps, "the averages change the training"
assert averaged != plain
PYTHON
