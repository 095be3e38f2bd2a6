"""Folding through the command line: every technique gives the curve of the plain run, alone and all together."""

import json
import os
import shutil

import pytest

from e2e.tiny import MODEL, make, metrics, run

# The optimizer's settings that all of them share: clipping would need a second backward pass with `true`.
PLAIN = ["optimizer.clip=0", "length_schedule={length: 100}", "batch={sequences: 2, policy: constant_sequences}", "budget.steps=12",
         "evaluation.every.steps=12"]

TECHNIQUES = {
    "head at once": ["memory.mini_sequence.head=off"],
    "head": ["memory.mini_sequence.head=7"],
    "mlp": ["memory.mini_sequence.mlp=30"],
    "mlp by count": ["memory.mini_sequence.mlp={count: 3}"],
    "recompute mlp": ["memory.recompute=mlp"],
    "recompute attention": ["memory.recompute=attention"],
    "recompute layer": ["memory.recompute=layer"],
    "every second layer": ["memory.recompute=layer", "memory.recompute_every=2"],
    "queries": ["memory.recompute=layer", "memory.mini_sequence.attention=33"],
    "keep attention": ["memory.recompute=layer", "memory.keep_attention=true"],
    "in backward": ["memory.optimizer_in_backward=true"],
    "disk": ["memory.recompute=layer", "memory.offload={to: disk, path: {folder}/away, optimizer: true}"],
    "everything": ["memory.recompute=layer", "memory.mini_sequence={mlp: 16, attention: 33, head: 7}", "memory.keep_attention=true",
                   "memory.optimizer_in_backward=true", "memory.offload={to: disk, path: {folder}/away, optimizer: true}"],
}

GEMMA = {**MODEL, "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 8, "query_pre_attn_scalar": 8,
         "attn_logit_softcapping": 1.0, "final_logit_softcapping": 1.5, "sliding_window": 24, "hidden_activation": "gelu_pytorch_tanh",
         "tie_word_embeddings": True}
MODELS = {"llama": MODEL, "gemma2": GEMMA}


def curve(recipe, folder, *keys):
    run("--threads", 1, "train", recipe, f"run={folder}", *PLAIN, *[key.replace("{folder}", str(folder.parent)) for key in keys])
    steps, evals = metrics(folder), metrics(folder, "eval")
    return [s["loss"] for s in steps], [s["grad_norm"] for s in steps], [e["loss"] for e in evals]


@pytest.fixture(scope="module", params=MODELS)
def plain(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    recipe = make(folder, model=MODELS[request.param])
    return recipe, folder, curve(recipe, folder / "plain")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_curves_are_those_of_the_plain_run(plain, technique):
    recipe, folder, expected = plain
    got = curve(recipe, folder / technique.replace(" ", "-"), *TECHNIQUES[technique])
    assert expected[0][-1] < expected[0][0] - 0.3, "it should learn"
    for values, reference in zip(got, expected):
        assert values == pytest.approx(reference, rel=2e-4)
    assert not (folder / "away").exists() or os.listdir(folder / "away") == []


def test_clipping_in_two_passes(plain):
    recipe, folder, _ = plain
    expected = curve(recipe, folder / "clipped", "optimizer.clip=0.1")
    got = curve(recipe, folder / "two-passes", "optimizer.clip=0.1", "memory.optimizer_in_backward=two_pass")
    for values, reference in zip(got, expected):
        assert values == pytest.approx(reference, rel=2e-4)


def test_a_run_goes_on_with_other_techniques(plain):
    recipe, folder, expected = plain
    shutil.rmtree(folder / "changed", ignore_errors=True)
    run("train", recipe, f"run={folder}/changed", *PLAIN, "budget.steps=6")
    run("train", recipe, f"run={folder}/changed", *PLAIN, "memory.recompute=layer", "memory.mini_sequence={mlp: 16, attention: 33}")
    assert [s["loss"] for s in metrics(folder / "changed")] == pytest.approx(expected[0], rel=2e-4)


def test_a_place_for_layer_inputs_that_is_none(plain):
    recipe, folder, _ = plain
    (folder / "file").write_text("")
    for keys, answer in [(["memory.offload={to: disk, path: %s/file/x}" % folder], "file/x: cannot create the folder"),
                         (["memory.offload=host"], "use {to: disk, path: FOLDER}")]:
        done = run("train", recipe, f"run={folder}/none", *PLAIN, "memory.recompute=layer", *keys, check=False)
        assert done.returncode == 2 and answer in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_bench_step_takes_the_same_keys():
    done = run("bench", "step", "models/mistral-tiny.json", "--length", 300, "--steps", 1, "--json", "optimizer.clip=0",
               "memory.recompute=layer", "memory.mini_sequence={mlp: 64, attention: 128}", "memory.optimizer_in_backward=true",
               cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    assert json.loads(done.stdout)["loss"] > 0
