"""What `plan` says a step holds, against what `bench step` measured: bytes of tensors, not time."""

import json
import pathlib

import pytest
from tiny import run

ROOT = pathlib.Path(__file__).parents[2]

# model, length, rows, precision, further keys
SHAPES = [
    ("demo", 512, 8, "f32", []),
    ("demo", 4096, 1, "bf16", []),
    ("demo", 1000, 2, "f32", ["memory.mini_sequence.head=300"]),
    ("demo", 1024, 2, "bf16", ["memory.mini_sequence.head=off"]),
    ("demo", 512, 4, "f32", ["memory.mini_sequence.head=off"]),
    ("pythia-14m", 2048, 1, "bf16", []),
    ("pythia-14m", 512, 2, "f32", ["memory.mini_sequence.head={count: 4}"]),
    ("mistral-tiny", 4096, 1, "f32", ["memory={recompute: layer, mini_sequence: {mlp: 256, attention: 256, head: 256}, offload: {to: disk, path: %s}}"]),
]


@pytest.mark.parametrize("model, length, rows, precision, keys", SHAPES)
def test_plan_says_what_a_step_holds(model, length, rows, precision, keys, tmp_path):
    keys = [key.replace("%s", str(tmp_path)) for key in keys]
    measured = json.loads(run("bench", "step", model, "--length", length, "--rows", rows, "--precision", precision, "--steps", 1,
                              "batch.microbatch=%d" % rows, *keys, "--json", cwd=ROOT).stdout)
    planned = json.loads(run("plan", "recipes/fixed.yaml", f"model=models/{model}.json", f"length_schedule={{length: {length}}}",
                             f"evaluation.lengths=[{length}]", f"batch={{tokens: {rows * length}, microbatch: {rows}}}",
                             f"precision={precision}", *keys, "--json", cwd=ROOT).stdout)["memory"]
    states = planned["weights"] + planned["gradients"] + planned["optimizer"]
    assert planned["activations"] == pytest.approx(measured["peak_bytes"] - states, rel=0.03)


def test_the_longest_row_fits():
    memory = 600 << 20
    longest = json.loads(run("plan", "recipes/demo-constant.yaml", "--memory", memory, "--json", "precision=bf16", cwd=ROOT).stdout)["longest"]
    measured = json.loads(run("bench", "step", "demo", "--length", longest, "--precision", "bf16", "--steps", 1, "--threads", 2, "--json", cwd=ROOT).stdout)
    assert 0.7 * memory < measured["peak_rss_bytes"] < memory
