"""TensorBoard's own reader opens the event files of a run, and of one that was killed and resumed."""

import json
import os
import signal
import subprocess
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

MODEL = {"model_type": "gpt2", "vocab_size": 257, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 256, "eos_token_id": 256}
RECIPE = """
model: {folder}/model/config.json
run: {folder}/run
data: {{train: {folder}/corpus}}
budget: {{steps: 60}}
batch: {{tokens: 256}}
length_schedule: {{max_length: 64, segments: [{{length: 32, until: 0.5}}, {{length: 64, until: 1.0}}]}}
lr_schedule: {{warmup: {{steps: 5}}}}
precision: f32
evaluation: {{every: {{steps: 20}}, tokens: 512, lengths: [32, 64]}}
checkpoint: {{every: {{steps: 10}}}}
"""


def accordion(*arguments):
    done = subprocess.run([os.environ["ACCORDION"], *map(str, arguments), "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(MODEL))
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / f"texts/{number}.txt").write_text(f"The {number}th document counts: " + " ".join(map(str, range(number * 90, number * 90 + 300))))
    accordion("prepare", tmp_path / "texts", "--tokenizer", "bytes", "--out", tmp_path / "corpus")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def records(run, kind):
    return [record for record in map(json.loads, open(run / "metrics.jsonl")) if record["type"] == kind]


def check(run):
    """The curves that TensorBoard shows are those of metrics.jsonl, each step once."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    steps = records(run, "step")
    assert [step["step"] for step in steps] == list(range(1, 61))
    for tag in ("loss", "lr", "grad_norm", "length", "tokens_per_second"):
        points = events.Scalars(tag)
        assert [point.step for point in points] == list(range(1, 61)), tag
        assert [point.value for point in points] == pytest.approx([step[tag] for step in steps], rel=1e-6), tag
    for length in (32, 64):
        evaluations = [(record["step"], record["loss"]) for record in records(run, "eval") if record["length"] == length]
        points = events.Scalars(f"eval/loss_at_{length}")
        assert [point.step for point in points] == [step for step, _ in evaluations]
        assert [point.value for point in points] == pytest.approx([loss for _, loss in evaluations], rel=1e-6)


def test_a_run(recipe, tmp_path):
    accordion("train", recipe)
    check(tmp_path / "run")
    assert [(record["step"], record["from"], record["to"]) for record in records(tmp_path / "run", "length")] == [(31, 32, 64)]


def test_a_killed_run(recipe, tmp_path):
    metrics = tmp_path / "run/metrics.jsonl"
    for reached in (13, 37):
        process = subprocess.Popen([os.environ["ACCORDION"], "train", str(recipe), "--threads", "1"], stdout=subprocess.DEVNULL)
        while process.poll() is None and not (metrics.exists() and f'"step":{reached},' in metrics.read_text()):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    accordion("train", recipe)
    check(tmp_path / "run")
