"""Holds the trace of a step against what `minim plan --operations` lists of it.

usage: check_trace.py TRACE PLAN RANKS MICRO_BATCHES
"""

import collections
import json
import re
import sys

trace_file, plan_file, ranks, micro_batches = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

planned = []
for line in open(plan_file):
    found = re.match(r"(\S+)\s+(\w+)\s+(forward|backward)\s", line)
    if found:
        planned.append(found.groups())
assert len(planned) > 10, planned
gradients = re.search(r"^gradients .* ([0-9.]+) KiB$", open(plan_file).read(), re.MULTILINE).group(1)  # of the last precision

events = json.load(open(trace_file))["traceEvents"]
names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
assert {e["pid"] for e in events} == set(range(ranks))
rows = collections.defaultdict(list)
for event in events:
    if event["ph"] == "X":
        rows[event["pid"], names[event["pid"], event["tid"]]].append(event)
assert {rank for rank, _ in rows} == set(range(ranks))

# Times have three digits behind the point, and are written as binary fractions.
ROUNDING = 0.002
for row, row_events in rows.items():
    assert all(e["dur"] >= 0 for e in row_events), row
    for a, b in zip(row_events, row_events[1:]):
        assert b["ts"] >= a["ts"] + a["dur"] - ROUNDING, (row, a, b)

buckets = []
for rank in range(ranks):
    assert rows[rank, "host"]
    compute = rows[rank, "compute"]
    kernels = [e for e in compute if e["cat"] in ("forward", "backward") and e["args"]["type"] != "zero"]
    run = [(e["name"], e["args"]["type"], e["cat"]) for e in kernels]
    assert run == micro_batches * planned, (rank, run, planned)
    assert [e["args"]["micro_batch"] for e in kernels] == [m for m in range(micro_batches) for _ in planned]
    collectives = rows[rank, "communication"]
    by_type = collections.defaultdict(dict)
    for e in collectives:
        assert e["name"] not in by_type[e["args"]["type"]], e
        by_type[e["args"]["type"]][e["name"]] = e
    gathers, reductions = by_type["all-gather"], by_type["all-reduce"]
    agreement = gathers.pop("agreement")
    assert len(reductions) > 1, reductions
    if ranks > 1:
        assert gathers.keys() == reductions.keys(), (gathers, reductions)
    assert all(e["args"]["bytes"] > 0 for e in collectives)
    updates = {e["name"]: e for e in compute if e["args"].get("kernel") == "ApplyUpdate"}
    assert updates.keys() == reductions.keys()
    # Causes come before what they bring about, on one row and on two.
    for name, reduction in reductions.items():
        assert reduction["ts"] + reduction["dur"] <= updates[name]["ts"] + ROUNDING, name
        if ranks > 1:
            assert gathers[name]["ts"] + gathers[name]["dur"] <= reduction["ts"] + ROUNDING, name
    assert max(e["ts"] for e in reductions.values()) <= agreement["ts"]
    buckets.append({name: e["args"]["bytes"] for name, e in reductions.items()})
assert all(b == buckets[0] for b in buckets)
assert f"{sum(buckets[0].values()) / 1024:.2f}" == gradients, (buckets[0], gradients)

# Ranks have one clock: a reduction ends nowhere before it has begun everywhere.
for name in buckets[0]:
    of_ranks = [e for rank in range(ranks) for e in rows[rank, "communication"]
                if e["name"] == name and e["args"]["type"] == "all-reduce"]
    assert max(e["ts"] for e in of_ranks) <= min(e["ts"] + e["dur"] for e in of_ranks) + ROUNDING, of_ranks
