"""SIGINT and SIGTERM at any place, and two processes in one run folder."""

import os
import signal
import subprocess
import time

import pytest

from e2e.faults import KILL, TERM, TINY, World, accordion, records
from e2e.tiny import ACCORDION, MODEL, make, metrics, run, what_must_repeat


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("signals") / "faults")


def lines_of_metrics(world, command):
    """The numbers, among the writes of a command to come, of those to metrics.jsonl: a line each."""
    writes = [path for call, path in world.calls_here(command) if call == "write"]
    return [number for number, path in enumerate(writes, 1) if path.endswith("run/metrics.jsonl")]


@pytest.mark.parametrize("end", ["once", "killed"])
@pytest.mark.parametrize("line, evaluated", [(2, []), (3, [8])])  # the lines: step 1, step 2, its evaluations at 8 and at 16
def test_a_signal_within_an_evaluation(world, line, evaluated, end):
    """It ends between two batches; what it cut is made by the run that goes on, once."""
    run_folder = world.folder / "run"
    scenario = world.scenarios["train"]
    command = scenario.command + ["evaluation.lengths=[8,16]"]
    world.restore(scenario)
    lines = lines_of_metrics(world, command)
    world.well(command)
    undisturbed, final = records((run_folder / "metrics.jsonl").read_text()), (run_folder / "final/model.safetensors").read_bytes()

    world.restore(scenario)
    done = accordion(*command, environment=world.environment("write", lines[line - 1], TERM))
    assert done.returncode == 143, done.stderr
    assert [(e["step"], e["length"]) for e in metrics(run_folder, "eval")] == [(2, length) for length in evaluated]
    assert os.readlink(run_folder / "checkpoints/latest") == "step-2"
    if end == "killed":  # right before step 3 is logged: what was left of the evaluation is, and no checkpoint knows of it
        left = 2 - len(evaluated)
        accordion(*command, environment=world.environment("write", lines_of_metrics(world, command)[left], KILL))
        assert len(metrics(run_folder, "eval")) == 2 and len(metrics(run_folder)) == 2
    world.well(command)
    assert records((run_folder / "metrics.jsonl").read_text()) == undisturbed
    assert (run_folder / "final/model.safetensors").read_bytes() == final


def test_a_signal_within_the_last_evaluation(world):
    scenario = world.scenarios["train"]
    world.restore(scenario)
    last = lines_of_metrics(world, scenario.command)[-2]  # that of the last step; the evaluation's line is the last
    done = accordion(*scenario.command, environment=world.environment("write", last, TERM))
    assert done.returncode == 143 and len(metrics(world.folder / "run", "eval")) == 1
    assert not (world.folder / "run/final").exists()
    for _ in range(2):  # a finished run has nothing left to do
        world.well(scenario.command)
        assert world.outcome(scenario) == scenario.result


@pytest.mark.parametrize("keys", [[], ["memory.recompute=layer", "batch.microbatch=1"]])
def test_a_signal_within_a_long_step(tmp_path, keys):
    """The step is thrown away, and made from the same rows by the run that goes on. The clock is hastened instead of waiting."""
    recipe = make(tmp_path, model=MODEL | {"num_hidden_layers": 12, "hidden_size": 64})
    command = [ACCORDION, "--threads", "1", "train", recipe, "budget.steps=3", "batch.tokens=8192", "length_schedule={length: 128}",
               "checkpoint.every.steps=1", "evaluation={every: {steps: 3}, tokens: 128, lengths: [128]}", *keys]
    subprocess.run([*command, f"run={tmp_path}/whole"], check=True, stdout=subprocess.DEVNULL)
    hasty = os.environ | {"LD_PRELOAD": os.path.abspath(os.environ["FAULTS"]), "FAULT_HASTE": "50"}
    for attempt in range(5):  # a test that is held up may signal after the step
        folder = tmp_path / f"run-{attempt}"
        process = subprocess.Popen([*command, f"run={folder}"], env=hasty, stdout=subprocess.PIPE, text=True)
        while not (folder / "checkpoints/step-1").exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=300)[0]
        if process.returncode == 143 and "before the end of step 2" in said:
            break
    else:
        raise AssertionError(said)
    assert os.readlink(folder / "checkpoints/latest") == "step-1" and len(metrics(folder)) == 1
    subprocess.run([*command, f"run={folder}"], check=True, stdout=subprocess.DEVNULL)
    assert what_must_repeat(folder) == what_must_repeat(tmp_path / "whole")
    assert (folder / "final/model.safetensors").read_bytes() == (tmp_path / "whole/final/model.safetensors").read_bytes()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_generate_stops_at_once(tmp_path, number, code):
    recipe = make(tmp_path, model=TINY)
    run("train", recipe, "budget.steps=1")
    process = subprocess.Popen([ACCORDION, "--threads", "1", "generate", tmp_path / "run", "--prompt", "abc", "--max-tokens", "1000000"], stdout=subprocess.PIPE)
    process.stdout.read(8)
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(60) == code


@pytest.mark.parametrize("command", ["eval {0}/run --data {0}/corpus --lengths 16 --tokens 64", "compare {0}/run {0}/run2",
                                     "score {0}/run --tokens {0}/ids.json", "plan {0}/recipe.yaml"])
def test_every_command_stops_with_its_code(world, command):
    world.restore(world.scenarios["compare"])
    (world.folder / "ids.json").write_text("[[1,2]]")
    (world.folder / "recipe.yaml").write_text((world.inputs / "recipe.yaml").read_text())
    done = accordion(*command.format(world.folder).split(), environment=world.environment("*", 2, TERM))
    assert done.returncode == 143 and done.stdout == "", (done.stdout, done.stderr)


def test_two_trainings_in_one_run_folder(tmp_path):
    recipe = make(tmp_path, model=TINY)
    command = ["train", recipe, "budget.steps=1000000", "evaluation.every.steps=1000000"]
    first = subprocess.Popen([ACCORDION, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while time.time() < deadline and not list((tmp_path / "run").glob("checkpoints/step-*[0-9]")):
        time.sleep(0.02)
    for more in (["--fresh"], [f"run={tmp_path}/../{tmp_path.name}/run/"]):
        done = run(*command, *more, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "run: another process trains in this run folder (process " + str(first.pid) in done.stderr, done.stderr
    assert first.poll() is None, first.stderr.read()
    first.kill()
    first.wait()
    steps = [step["step"] for step in metrics(tmp_path / "run")]
    assert steps == list(range(1, len(steps) + 1))
    latest = int(os.readlink(tmp_path / "run/checkpoints/latest").split("-")[1])
    run("train", recipe, f"budget.steps={latest + 1}")  # a kill releases it
    assert [step["step"] for step in metrics(tmp_path / "run")] == list(range(1, latest + 2))
    assert not (tmp_path / "run/.lock").exists()
