"""Standard streams that are full or closed, and a corpus that is cut off while a training reads it."""

import subprocess
import time

import pytest

from e2e.tiny import ACCORDION, make, metrics, run, what_must_repeat


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return make(tmp_path_factory.mktemp("streams"))


@pytest.mark.parametrize("command", [["plan", "{}"], ["plan", "{}", "--json"], ["train", "{}", "budget.steps=1"], ["--version"],
                                     ["train", "--help"]])
def test_what_cannot_be_printed_is_said(recipe, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run([ACCORDION, *(word.format(recipe) for word in command)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: not everything could be written there; make room and run it again\n"


def test_closed_streams_are_no_place_for_files(recipe, tmp_path):
    """Without a stream in its place the first file that is opened would take the messages."""
    for name, closed in [("open", ""), ("closed", "<&- >&- 2>&-")]:
        command = f'"{ACCORDION}" train "{recipe}" budget.steps=3 run="{tmp_path / name}" {closed}'
        assert subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, timeout=300).returncode == 0
    assert len(metrics(tmp_path / "closed")) == 3
    assert what_must_repeat(tmp_path / "closed") == what_must_repeat(tmp_path / "open")
    assert (tmp_path / "closed/final/model.safetensors").read_bytes() == (tmp_path / "open/final/model.safetensors").read_bytes()


def test_a_corpus_that_is_cut_off_meanwhile(recipe):
    folder = recipe.parent
    tokens = folder / "corpus/train.bin"
    whole = tokens.read_bytes()
    command = ["train", recipe, f"run={folder}/cut", "budget.steps=100000", "checkpoint.every.steps=1", "evaluation.every={steps: 100000}"]
    process = subprocess.Popen([ACCORDION, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (folder / "cut/checkpoints/step-2").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    with open(tokens, "r+b") as file:
        file.truncate(0)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert said == (f"error: {tokens}: it became shorter while it was read, or its disk fails or is full; put it back and run the "
                    "command again\n")
    tokens.write_bytes(whole)
    trained = metrics(folder / "cut")[-1]["step"]
    run(*command[:3], f"budget.steps={trained + 2}", *command[4:])
    assert [record["step"] for record in metrics(folder / "cut")] == list(range(1, trained + 3))
