"""`accordion compare` on run folders that fake_run.py made: table, JSON, page, mistakes."""

import json
import os
import re
import subprocess

import pytest

from fake_run import write_pair, write_run


def compare(*arguments):
    return subprocess.run([os.environ["ACCORDION"], "compare", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("runs"))


def last(run, kind):
    return [record for record in map(json.loads, open(run / "metrics.jsonl")) if record["type"] == kind][-1]


def test_json(runs):
    done = compare(*runs, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    constant, stretched = (last(run, "step") for run in runs)
    assert [run["run"] for run in result["runs"]] == [str(run) for run in runs]
    for run, step in zip(result["runs"], (constant, stretched)):
        assert {key: run[key] for key in ("tokens", "flops", "seconds")} == {key: step[key] for key in ("tokens", "flops", "seconds")}
        assert [entry["length"] for entry in run["eval"]] == [256, 1024, 4096]
    [against] = result["against_first"]
    assert against["run"] == str(runs[1])
    assert against["seconds_ratio"] == pytest.approx(stretched["seconds"] / constant["seconds"])
    assert against["flops_ratio"] == pytest.approx(stretched["flops"] / constant["flops"])
    for first, second in zip(result["runs"][0]["eval"], result["runs"][1]["eval"]):
        assert against["loss_difference"][str(first["length"])] == pytest.approx(second["loss"] - first["loss"])


def test_table(runs):
    done = compare(*runs)
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(r"^run +tokens +FLOPs +seconds +loss at 256 +loss at 1024 +loss at 4096$", done.stdout, re.M)
    assert re.search(r"^against constant +FLOPs +seconds", done.stdout, re.M)


def test_page_stands_by_itself(runs, tmp_path):
    page = tmp_path / "page.html"
    done = compare(*runs, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # the page's name goes to standard error
    text = page.read_text()
    assert not re.search(r"""\b(src|href)\s*=|@import|url\(|fetch\(""", text), "needs something beside itself"
    data = json.loads(re.search(r"^const data = (.*);$", text, re.M)[1])
    assert [curves["label"] for curves in data["curves"]] == ["constant", "stretched"]
    for curves in data["curves"]:
        assert {len(column) for column in curves["steps"].values()} == {1200}
        assert len(curves["evaluations"]["4096"]["loss"]) == 20
    assert data["curves"][1]["turns"]["length"] == [256, 1024, 4096, 4096]


def test_long_runs_stay_light(tmp_path):
    runs = [write_run(tmp_path / name, [(1, 256)], 3, total=20000) for name in ("a", "b")]
    page = tmp_path / "page.html"
    assert compare(*runs, "--html", page).returncode == 0
    assert page.stat().st_size < 1_000_000


def test_unfinished_runs_are_said_to_be_so(tmp_path, runs):
    lines = (runs[1] / "metrics.jsonl").read_text().splitlines(keepends=True)
    part = tmp_path / "part"
    part.mkdir()
    (part / "metrics.jsonl").write_text("".join(lines[:700]) + lines[700][:20])
    done = compare(runs[0], part)
    assert done.returncode == 0
    assert "note: part is not finished: step " in done.stderr and "of the tokens of constant" in done.stderr


@pytest.mark.parametrize("second, message", [("", "two run folders or more"), ("none", "no such folder"), ("empty", "not a run folder")])
def test_mistakes(tmp_path, runs, second, message):
    (tmp_path / "empty").mkdir()
    done = compare(runs[0], *([tmp_path / second] if second else []))
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1
