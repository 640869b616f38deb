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
