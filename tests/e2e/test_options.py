"""Options that go with every command, wherever on the line they stand."""

import json

import pytest
from tiny import run

STEP = ["bench", "step", "demo", "--length", "16", "--rows", "1", "--steps", "1", "--json"]


@pytest.mark.parametrize("arguments", [["--threads", "1", *STEP], [*STEP, "--threads", "1"], [*STEP[:3], "--threads=1", *STEP[3:]]])
def test_threads(arguments):
    assert json.loads(run(*arguments).stdout)["threads"] == 1


def test_version_says_the_threads():
    assert "1 thread" in run("--version", "--threads", "1").stdout


@pytest.mark.parametrize("arguments, says", [
    (["--threads", "0"], "--threads: Value 0 not in range 1 to 4096"),
    (["--threads", "many"], "--threads"),
    (["--device", "tpu"], "--device: "),
    (["--device", "cuda:99"], "--device: cuda:99"),
])
def test_mistakes(arguments, says):
    done = run(*STEP, *arguments, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1, done.stderr
