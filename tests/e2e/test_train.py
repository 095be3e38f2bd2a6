"""Training through the command line: schedule, resume after every kind of end, damage, mistakes."""

import json
import shutil
import signal
import subprocess
import time

import pytest
import safetensors.torch

from e2e.tiny import ACCORDION, RECIPE, make, metrics, run, what_must_repeat


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    recipe = make(folder)
    run("train", recipe)
    return folder


def copy_inputs(source, folder):
    folder.mkdir()
    for name in ("corpus", "model.json"):
        (shutil.copytree if (source / name).is_dir() else shutil.copy)(source / name, folder / name)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    return folder / "recipe.yaml"


def test_lengths_follow_the_schedule(uninterrupted):
    steps = metrics(uninterrupted / "run")
    assert [s["step"] for s in steps] == list(range(1, 31))
    lengths = [s["length"] for s in steps]
    assert lengths[:8] == [32] * 8 and lengths[20:] == [128] * 10 and lengths == sorted(lengths)
    assert all(s["rows"] == max(1, round(512 / s["length"])) for s in steps)
    assert steps[-1]["tokens"] == sum(s["rows"] * s["length"] for s in steps)
    changes = metrics(uninterrupted / "run", "length")
    assert [c["to"] for c in changes] == sorted(set(lengths))[1:]
    assert all(lengths[c["step"] - 1] == c["to"] for c in changes)


def test_it_learns(uninterrupted):
    evaluations = [e for e in metrics(uninterrupted / "run", "eval") if e["length"] == 128]
    assert [e["step"] for e in evaluations] == [10, 20, 30]
    assert evaluations[-1]["loss"] < evaluations[0]["loss"] < 5.6


def test_run_folder_is_complete(uninterrupted):
    folder = uninterrupted / "run"
    for name in ("recipe.yaml", "metrics.jsonl", "log.txt", "final/config.json", "final/model.safetensors",
                 "checkpoints/latest/config.json", "checkpoints/latest/trainer/state.json"):
        assert (folder / name).exists(), name
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["latest", "step-25", "step-30"]
    again = run("train", uninterrupted / "recipe.yaml")  # a finished run has nothing left to do
    assert len(metrics(folder)) == 30, again.stdout


def wait_for_step(folder, step, process):
    deadline = time.time() + 120
    while time.time() < deadline:
        path = folder / "run" / "metrics.jsonl"
        if path.exists() and f'"step":{step},' in path.read_text().replace(" ", ""):
            return
        if process.poll() is not None:
            return
        time.sleep(0.005)
    raise AssertionError("the step never came")


def test_three_kills_change_nothing(uninterrupted, tmp_path):
    recipe = copy_inputs(uninterrupted, tmp_path / "killed")
    folder = tmp_path / "killed"
    for step in (7, 13, 22):  # after a checkpoint in the first segment, mid-ramp, in the last segment
        process = subprocess.Popen([ACCORDION, "train", recipe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_step(folder, step, process)
        process.kill()
        process.wait()
    run("train", recipe)
    assert what_must_repeat(folder / "run") == what_must_repeat(uninterrupted / "run")
    for name in ("final/model.safetensors", "checkpoints/latest/trainer/optimizer.safetensors"):
        assert (folder / "run" / name).read_bytes() == (uninterrupted / "run" / name).read_bytes(), name


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_and_saves(uninterrupted, tmp_path, number, code):
    folder = tmp_path / "stopped"
    recipe = copy_inputs(uninterrupted, folder)
    process = subprocess.Popen([ACCORDION, "train", recipe, "budget.steps=2000"], stdout=subprocess.DEVNULL)
    wait_for_step(folder, 3, process)
    process.send_signal(number)
    assert process.wait(60) == code
    last = metrics(folder / "run")[-1]["step"]
    assert (folder / "run/checkpoints/latest").resolve().name == f"step-{last}"


def test_raising_the_budget_goes_on(uninterrupted, tmp_path):
    folder = tmp_path / "raised"
    recipe = copy_inputs(uninterrupted, folder)
    run("train", recipe, "budget.steps=10")
    run("train", recipe, "budget.steps=12")
    assert [s["step"] for s in metrics(folder / "run")] == list(range(1, 13))


def test_what_may_not_change_is_named(uninterrupted):
    done = run("train", uninterrupted / "recipe.yaml", "optimizer.lr=1e-3", "budget.steps=40", check=False)
    assert done.returncode == 2 and "optimizer.lr" in done.stderr and done.stderr.count("\n") == 1
    done = run("train", uninterrupted / "recipe.yaml", "length_schedule.segments.0.until=6", "budget.steps=40", check=False)
    assert done.returncode == 2 and "length_schedule" in done.stderr


def test_a_damaged_checkpoint_falls_back(uninterrupted, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(uninterrupted / "run", copied)  # `latest` becomes a folder instead of a link, as in many a copy
    newest = copied / "checkpoints/step-30/trainer/optimizer.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    done = run("train", uninterrupted / "recipe.yaml", f"run={copied}")
    assert "step-30" in done.stderr and "damaged" in done.stderr
    assert what_must_repeat(copied) == what_must_repeat(uninterrupted / "run")


def test_a_changed_corpus_is_refused(tmp_path):
    recipe = make(tmp_path)
    run("train", recipe, "budget.steps=6")
    shutil.rmtree(tmp_path / "corpus")
    text = "\n".join(json.dumps({"text": "another text " * n}) for n in range(20, 60))
    (tmp_path / "other.jsonl").write_text(text)
    run("prepare", tmp_path / "other.jsonl", "--tokenizer", "bytes", "--out", tmp_path / "corpus", "--validation", "0.2")
    done = run("train", recipe, "budget.steps=40", check=False)
    assert done.returncode == 2 and "corpus" in done.stderr and done.stderr.count("\n") == 1


def test_fresh_starts_anew_and_keeps_what_is_not_its_own(uninterrupted, tmp_path):
    folder = tmp_path / "fresh"
    shutil.copytree(uninterrupted, folder)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    (folder / "run/notes.txt").write_text("mine")
    run("train", folder / "recipe.yaml", "--fresh", "budget.steps=6")
    assert [s["step"] for s in metrics(folder / "run")] == list(range(1, 7))
    assert (folder / "run/notes.txt").read_text() == "mine"


def test_microbatches_do_not_change_the_result(uninterrupted, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    run("train", uninterrupted / "recipe.yaml", f"run={one}", "budget.steps=12", "batch.microbatch=64")
    run("train", uninterrupted / "recipe.yaml", f"run={many}", "budget.steps=12", "batch.microbatch=1")
    for a, b in zip(metrics(one), metrics(many), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-6) and a["grad_norm"] == pytest.approx(b["grad_norm"], rel=2e-4)


@pytest.mark.parametrize("chunk", ["off", "7", "{count: 3}"])
def test_head_chunks_do_not_change_the_result(uninterrupted, tmp_path, chunk):
    run("train", uninterrupted / "recipe.yaml", f"run={tmp_path}/other", f"memory.mini_sequence.head={chunk}")
    for a, b in zip(metrics(uninterrupted / "run")[:12], metrics(tmp_path / "other")[:12], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5), a["step"]


def test_a_diverging_run_stops_and_keeps_its_checkpoint(uninterrupted, tmp_path):
    folder = tmp_path / "diverged"
    recipe = copy_inputs(uninterrupted, folder)
    done = run("train", recipe, "optimizer.lr=1e30", "optimizer.clip=0", "lr_schedule.warmup.steps=0", "checkpoint.every.steps=1",
               check=False)
    assert done.returncode == 2 and "not finite" in done.stderr
    skipped = [s for s in metrics(folder / "run") if s["skipped"]]
    assert len(skipped) == 10 and all(s["loss"] is None or s["grad_norm"] is None for s in skipped)


def test_skipped_steps_count_in_a_row(tmp_path):
    """A broken row of the embedding makes every second step's loss not finite, twelve in all: the run goes on."""
    recipe = make(tmp_path)
    documents = [("z" if i % 2 else "a") + "bcdefghijklmno" for i in range(40)]  # with its end 16 tokens, a row
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
    run("prepare", tmp_path / "rows.jsonl", "--tokenizer", "bytes", "--out", tmp_path / "rows", "--validation", "0")
    command = ["train", recipe, f"data.train={tmp_path}/rows", "data.shuffle=false", "batch.tokens=16", "length_schedule={length: 16}",
               "evaluation={tokens: 16, lengths: [16]}"]
    run(*command, "budget.steps=1")
    weights = tmp_path / "run/final/model.safetensors"
    tensors = safetensors.torch.load_file(weights)
    tensors["model.embed_tokens.weight"][ord("z")] = float("nan")
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    run(*command, "budget.steps=24", f"model={tmp_path}/run/final", f"run={tmp_path}/broken")
    assert [step["skipped"] for step in metrics(tmp_path / "broken")] == [False, True] * 12


def test_a_finished_run_is_not_evaluated_again(tmp_path):
    """Its last step is saved before the last evaluation: the checkpoint has to know of that afterwards."""
    command = ["train", make(tmp_path), "budget.steps=3", "checkpoint.every.steps=1", "evaluation.every={steps: 1000}"]
    for _ in range(2):
        run(*command)
        assert [(record["step"], record["length"]) for record in metrics(tmp_path / "run", "eval")] == [(3, 32), (3, 128)]


def test_full_disk_keeps_the_last_checkpoint(uninterrupted, tmp_path):
    folder = tmp_path / "full"
    recipe = copy_inputs(uninterrupted, folder)
    run("train", recipe, "budget.steps=5")
    limit = f"ulimit -f 40; exec {ACCORDION} train {recipe}"  # no file may grow past 40 KiB: the next checkpoint cannot be written
    done = subprocess.run(["bash", "-c", "trap '' XFSZ; " + limit], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("error:") == 1, done.stderr
    assert sorted(p.name for p in (folder / "run/checkpoints").iterdir()) == ["latest", "step-5"]
    run("train", recipe)
    assert what_must_repeat(folder / "run")[-1] == what_must_repeat(uninterrupted / "run")[-1]


def test_an_unwritable_run_folder(uninterrupted):
    done = run("train", uninterrupted / "recipe.yaml", "run=/proc/run", check=False)
    assert done.returncode == 2 and "/proc/run" in done.stderr and done.stderr.count("\n") == 1
