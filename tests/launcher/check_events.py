"""Holds TensorBoard's view of a run against metrics.jsonl and the exported FP32 weights.

usage: check_events.py RUN FILES
"""

import collections
import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run, files = pathlib.Path(sys.argv[1]), int(sys.argv[2])
assert len(list(run.glob("events.out.tfevents.*"))) == files

events = EventAccumulator(str(run), size_guidance={"scalars": 0, "histograms": 0}).Reload()

expected = collections.defaultdict(dict)
for line in open(run / "metrics.jsonl"):
    record = json.loads(line)
    names = {
        "step": {"loss": "loss/train", "accuracy": "accuracy/train", "skipped": "skipped_steps"}
        | {name: name for name in ("epoch", "loss_scale", "learning_rate", "gradient_norm", "samples_per_second")},
        "evaluation": {"loss": "loss/test", "accuracy": "accuracy/test"},
    }.get(record["event"], {})
    for field, tag in names.items():
        # A number that is not finite is null in JSON, and as it is in the events.
        expected[tag][record["step"]] = record[field]
assert expected["loss/train"].keys() == set(range(1, 13)) and expected["loss/test"].keys() == {4, 8, 12}, expected

assert set(events.Tags()["scalars"]) == expected.keys(), events.Tags()
for tag, values in expected.items():
    shown = events.Scalars(tag)
    assert [e.step for e in shown] == sorted(values), (tag, [e.step for e in shown])
    for e in shown:
        wanted = values[e.step]
        assert not numpy.isfinite(e.value) if wanted is None else e.value == numpy.float32(wanted), (tag, e, wanted)
    assert all(a.wall_time <= b.wall_time for a, b in zip(shown, shown[1:])), tag

weights = load_file(run / "weights.safetensors")
assert set(events.Tags()["histograms"]) == {f"weights/{name}" for name in weights}, events.Tags()["histograms"]
for name, values in weights.items():
    shown = events.Histograms(f"weights/{name}")
    assert [e.step for e in shown] == [4, 8, 12], (name, shown)
    histogram, values = shown[-1].histogram_value, values.astype(numpy.float64)
    assert (histogram.min, histogram.max, histogram.num) == (values.min(), values.max(), values.size), (name, histogram)
    # Sums of FP64, in another order.
    assert numpy.allclose([histogram.sum, histogram.sum_squares], [values.sum(), (values**2).sum()], rtol=1e-12, atol=1e-12), name
    assert sum(histogram.bucket) == values.size and len(histogram.bucket) == len(histogram.bucket_limit), name
    edges = numpy.concatenate([[histogram.min], histogram.bucket_limit])
    assert numpy.abs(numpy.histogram(values, edges)[0] - histogram.bucket).max() <= 1, name  # a value at an edge
