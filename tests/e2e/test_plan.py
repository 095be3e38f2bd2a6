"""`accordion plan` on the recipes of the tree and on published settings: table, JSON, overrides."""

import json
import os
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
PUBLISHED = ROOT / "tests/schedule/published"


def plan(*arguments):
    return subprocess.run([os.environ["ACCORDION"], "plan", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)


def plan_json(*arguments):
    done = plan(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_planned(recipe):
    result = plan_json(recipe)
    assert result["stages"][0]["from_step"] == 1
    assert result["stages"][-1]["to_step"] == result["steps"]
    assert sum(stage["tokens"] for stage in result["stages"]) == result["tokens"]["trained"]
    assert plan(recipe).returncode == 0


@pytest.mark.parametrize("name, saving", [("vsl-gpt3-125m", 0.1390), ("vsl-gpt3-111m", 0.2864)])
def test_published_savings(name, saving):
    assert plan_json(PUBLISHED / f"{name}.yaml")["saving"]["causal_flash"] == pytest.approx(saving, abs=5e-5)


@pytest.mark.parametrize("name, steps, baseline, discarded",
                         [("slw-gpt2-1.5b", 58769, 37500, 0.362), ("slw-gpt3-1.3b", 8612, 7153, 0.169)])
def test_published_steps(name, steps, baseline, discarded):
    result = plan_json(PUBLISHED / f"{name}.yaml")
    assert result["steps"] == steps
    assert result["baseline"]["steps"] == baseline
    tokens = result["tokens"]
    assert tokens["discarded"] == tokens["read"] - tokens["trained"]
    assert tokens["discarded"] / tokens["read"] == pytest.approx(discarded, abs=5e-4)


def test_accountings_by_hand():
    """pythia-70m: 6 layers of 512, 12 * 512^2 values each, a head of 50,304 x 512."""
    result = plan_json(ROOT / "recipes/fixed.yaml", "length_schedule.length=512", "evaluation.lengths=512")
    layers, head, attention = 6 * 12 * 512**2, 50304 * 512, 6 * 512 * 512
    tokens = result["tokens"]["trained"]
    assert result["flops"]["matmul_full"] == pytest.approx(tokens * (6 * (layers + head) + 12 * attention))
    assert result["flops"]["matmul_causal"] == pytest.approx(tokens * (6 * (layers + head) + 6 * attention))
    assert result["flops"]["causal_flash"] == pytest.approx(tokens * (6 * layers + 7 * attention))
    assert all(saving == 0 for saving in result["saving"].values())


def test_overrides_reach_any_key():
    recipe = ROOT / "recipes/vsl.yaml"
    half = plan_json(recipe, "length_schedule.segments.0.until=0.5")
    assert half["saving"]["executed"] < plan_json(recipe)["saving"]["executed"]
    assert plan_json(recipe, "budget={steps: 10}", "lr_schedule.warmup.steps=0")["steps"] == 10
    assert plan_json(recipe, "length_schedule={length: 1k}")["stages"][0]["length_first"] == 1024


def test_baseline_of_any_schedule_trains_the_same_tokens():
    for recipe in RECIPES:
        run, baseline = plan_json(recipe), plan_json(recipe, "length_schedule.baseline=true")
        assert len(baseline["stages"]) == 1
        assert baseline["stages"][0]["length_first"] == run["baseline"]["length"]
        step = max(stage["tokens"] / (stage["to_step"] - stage["from_step"] + 1) for stage in baseline["stages"])
        assert abs(baseline["tokens"]["trained"] - run["tokens"]["trained"]) <= step


def test_table_says_what_matters():
    text = plan(ROOT / "recipes/slw.yaml").stdout
    for part in ("70,426,624 parameters", "constant 2048", "discards", "FLOPs executed", "weights", "longest row"):
        assert part in text, text
    assert "warning: at step" in plan(ROOT / "recipes/shortformer.yaml").stdout


def test_longest_row_follows_the_memory():
    longest = [plan_json(ROOT / "recipes/fixed.yaml", "--memory", memory)["longest"] for memory in ("1GiB", "4GiB", "80GB")]
    assert 0 == longest[0] < longest[1] < longest[2]
    assert "within 80.0 GiB: about" in plan(ROOT / "recipes/fixed.yaml", "--memory", "80GiB").stdout
    mistake = plan(ROOT / "recipes/fixed.yaml", "--memory", "lots")
    assert mistake.returncode == 2 and "--memory: 'lots' is not a size" in mistake.stderr


def test_seconds_leave_steps_unknown():
    result = plan_json(ROOT / "recipes/fixed.yaml", "budget={seconds: 600}")
    assert result["steps"] is None and result["stages"] == []
    assert "unknown" in plan(ROOT / "recipes/fixed.yaml", "budget={seconds: 600}").stdout


def test_millions_of_steps_take_a_moment():
    result = plan_json(ROOT / "recipes/slw.yaml", "budget={steps: 3000000}", "length_schedule.segments.0.until=2000000")
    assert result["steps"] == 3_000_000


def test_the_corpus_is_never_opened():
    assert plan(ROOT / "recipes/fixed.yaml", "data={train: /nonexistent}").returncode == 0


def test_documented_keys_are_yaml_of_the_interface(tmp_path):
    """The recipe of the documents, key by key."""
    recipe = {
        "model": "models/pythia-70m.json", "run": "runs/name",
        "data": {"train": "corpus", "validation": "corpus", "shuffle": True, "document_mask": False, "restart_positions": False},
        "budget": {"tokens": "20e6"},
        "batch": {"tokens": 16384, "policy": "constant_tokens", "microbatch": "auto", "lr_scale": "none"},
        "length_schedule": {"progress": "fraction", "max_length": 1024,
                            "segments": [{"length": 256, "until": 0.75}, {"length": 1024, "until": 1.0}]},
        "optimizer": {"name": "adamw", "lr": "1e-3", "betas": [0.9, 0.95], "epsilon": "1e-8", "weight_decay": 0.1, "clip": 1.0},
        "lr_schedule": {"kind": "cosine", "warmup": {"steps": 100}, "decay_by": "tokens", "final": 0.1},
        "precision": "auto",
        "memory": {"recompute": "none", "mini_sequence": {"mlp": "off", "head": "auto"}, "optimizer_in_backward": False, "offload": "none"},
        "parallel": {"data": 1, "sequence": 1, "shard": "none"},
        "evaluation": {"every": {"steps": 200}, "tokens": 65536, "lengths": [256, 1024]},
        "checkpoint": {"every": {"steps": 500}, "keep": 2},
        "seed": 1,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert plan_json(path) == plan_json(empty)  # keys left out take the values shown
