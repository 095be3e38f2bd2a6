"""`eval --lengths`: loss on the same validation tokens at several lengths."""

import json
import math

import pytest
import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    tiny.make(folder)
    return folder


def evaluate(folder, *arguments, check=True):
    return tiny.run("eval", folder / "model.json", "--data", folder / "corpus", *arguments, check=check)


def test_same_tokens_at_each_length(folder):
    done = json.loads(evaluate(folder, "--lengths", "16,128", "--tokens", "1k", "--json").stdout)
    assert [line["length"] for line in done["lengths"]] == [16, 128]
    for line in done["lengths"]:
        assert line["tokens"] == 1024
        assert line["perplexity"] == pytest.approx(math.exp(line["loss"]))
        assert line["loss"] == pytest.approx(math.log(257), abs=0.1)  # random weights


def test_a_small_split_is_used_whole_and_said(folder):
    held = json.loads((folder / "corpus/manifest.json").read_text())["validation"]["tokens"] - 1
    done = evaluate(folder, "--lengths", "16,64", "--tokens", "20e6", "--json")
    assert {line["tokens"] for line in json.loads(done.stdout)["lengths"]} == {held // 64 * 64}
    assert "the validation split holds" in done.stderr and done.stderr.count("\n") == 1
    done = evaluate(folder, "--lengths", "64k", "--tokens", "20e6", "--json")
    assert json.loads(done.stdout)["lengths"][0]["tokens"] == held
    assert "rows of 65536 are cut to that" in done.stderr


def test_training_with_a_small_split_says_so_and_goes_on(tmp_path):
    recipe = tiny.make(tmp_path, documents=6)
    done = tiny.run("train", recipe, "budget.steps=2", "evaluation.tokens=1e6")
    assert "the validation split holds" in done.stdout + done.stderr
    assert tiny.metrics(tmp_path / "run", "eval")


@pytest.mark.parametrize("arguments, says", [
    (["--lengths", "512", "--tokens", "100"], "100 tokens are less than one row of 512"),
    (["--lengths", "0"], "--lengths: '0' is not a number of tokens"),
    (["--lengths", "512", "batch.tokens=1"], "this command would ignore it"),
])
def test_mistakes(folder, arguments, says):
    done = evaluate(folder, *arguments, check=False)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_learned_positions_end(folder):
    done = tiny.run("eval", "gpt2-124m", "--data", folder / "corpus", "--lengths", "1100", "--tokens", "1100", check=False)
    assert done.returncode == 2 and "the model has 1024 positions" in done.stderr, done.stderr


def test_a_vocabulary_too_small_for_the_corpus(folder):
    model = folder / "small.json"
    model.write_text(json.dumps({**tiny.MODEL, "vocab_size": 100}))
    done = tiny.run("eval", model, "--data", folder / "corpus", "--lengths", "64", "--tokens", "1k", check=False)
    assert done.returncode == 2 and "outside of the model's vocabulary of 100" in done.stderr, done.stderr
