"""`accordion score` on random weights: the form of its answer, and mistakes."""

import json
import math

import pytest

from e2e.tiny import MODEL, run


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    return tmp_path / "config.json"


def score(model, text, *overrides, **options):
    (model.parent / "tokens.json").write_text(text)
    return run("score", model, "--tokens", model.parent / "tokens.json", *overrides, **options)


def test_answer(model):
    rows = json.loads(score(model, "[[5, 9, 200, 9], [7], [], [1, 2]]").stdout)
    assert [len(row) for row in rows] == [4, 1, 0, 2]
    assert rows[1] == [None] and rows[0][0] is None
    assert all(-math.log(257) - 1 < value < -math.log(257) + 1 for value in rows[0][1:])


def test_seed_and_precision(model):
    f32 = json.loads(score(model, "[[5, 9, 200, 9]]").stdout)
    assert f32 == json.loads(score(model, "[[5, 9, 200, 9]]", "seed=1").stdout)
    assert f32 != json.loads(score(model, "[[5, 9, 200, 9]]", "seed=2").stdout)
    bf16 = json.loads(score(model, "[[5, 9, 200, 9]]", "precision=bf16").stdout)
    assert f32 != bf16 and all(abs(a - b) < 0.05 for a, b in zip(f32[0][1:], bf16[0][1:]))


@pytest.mark.parametrize("text, overrides, says", [
    ("[[1, 257]]", [], "sequence 1: id 257 is outside the model's vocabulary of 257"),
    ("[[1], [2, -1]]", [], "sequence 2: id -1 is outside"),
    ("[[1, 2.5]]", [], "sequence 1: 2.5 is not a token id"),
    ("[1, 2]", [], "sequence 1 is not a list of token ids"),
    ('{"a": 1}', [], "should be a list of lists of token ids"),
    ("[[1,", [], "not valid JSON"),
    ("[[1]]", ["precision=f8"], "precision"),
    ("[[1]]", ["optimizer.lr=1"], "optimizer.lr"),
])
def test_mistakes(model, text, overrides, says):
    done = score(model, text, *overrides, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_learned_positions_end(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(dict(model_type="gpt2", vocab_size=50, n_positions=8, n_embd=16, n_layer=1, n_head=2)))
    assert len(json.loads(score(config, json.dumps([[1] * 9])).stdout)[0]) == 9
    done = score(config, json.dumps([[1] * 10]), check=False)
    assert done.returncode == 2 and "table has 8 positions" in done.stderr


def test_dropout_is_said_once_to_be_zero(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(dict(model_type="gpt2", vocab_size=50, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.1, attn_pdrop=0.1)))
    assert score(config, "[[1, 2]]").stderr.count("notice: ") == 1
