"""Training on a GPU: every technique gives the curve of the processor's plain run. Skipped where there is no GPU."""

import json

import pytest

from e2e.test_fold import MODELS, PLAIN, TECHNIQUES
from e2e.tiny import MODEL, make, metrics, run

GPU_TECHNIQUES = TECHNIQUES | {
    "plain": [],
    "host": ["memory.recompute=layer", "memory.offload=host"],
    "host by queries": ["memory.recompute=layer", "memory.offload=host", "memory.mini_sequence={mlp: 16, attention: 33, head: 7}",
                        "memory.optimizer_in_backward=true"],
}
# Rows of 100 tokens in documents of their own, which attention does not look across.
MASKED = ["data.document_mask=true", "data.restart_positions=true"]


@pytest.fixture(scope="module", autouse=True)
def gpu():
    if "CUDA devices" in run("--device", "cuda", "plan", "no-such-recipe.yaml", check=False).stderr:
        pytest.skip("no CUDA device here")


def curve(device, recipe, folder, *keys):
    run("--device", device, "--threads", 1, "train", recipe, f"run={folder}", *PLAIN,
        *[key.replace("{folder}", str(folder.parent)) for key in keys])
    steps, evals = metrics(folder), metrics(folder, "eval")
    return [s["loss"] for s in steps], [s["grad_norm"] for s in steps], [e["loss"] for e in evals]


@pytest.fixture(scope="module", params=MODELS)
def on_processor(request, tmp_path_factory, gpu):
    folder = tmp_path_factory.mktemp(request.param)
    recipe = make(folder, model=MODELS[request.param])
    return recipe, folder, curve("cpu", recipe, folder / "processor")


@pytest.mark.parametrize("technique", GPU_TECHNIQUES)
def test_curves_are_those_of_the_processor(on_processor, technique):
    recipe, folder, expected = on_processor
    got = curve("cuda", recipe, folder / technique.replace(" ", "-"), *GPU_TECHNIQUES[technique])
    for values, reference in zip(got, expected):
        assert values == pytest.approx(reference, rel=5e-4)


@pytest.mark.parametrize("keys", [[], MASKED, ["memory.recompute=layer", "memory.mini_sequence={attention: 33}"],
                                  MASKED + ["memory.recompute=layer", "memory.mini_sequence={attention: 33}"]])
@pytest.mark.parametrize("window", [None, 24])
def test_flash_attention_trains_as_tiles_do(keys, window, tmp_path):
    model = {**MODEL, "model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": window}
    recipe = make(tmp_path, model=model)
    expected = curve("cpu", recipe, tmp_path / "f32", *keys)
    got = curve("cuda", recipe, tmp_path / "bf16", "precision=bf16", *keys)
    for values, reference in zip(got, expected):
        assert values == pytest.approx(reference, rel=3e-2)


def test_a_run_goes_on_bit_by_bit(tmp_path):
    recipe = make(tmp_path)
    keys = ["precision=bf16", "memory.recompute=layer", "memory.mini_sequence={attention: 16}", "memory.offload=host",
            "lr_schedule={kind: constant}"]
    run("--device", "cuda", "train", recipe, f"run={tmp_path}/whole", *keys)
    run("--device", "cuda", "train", recipe, f"run={tmp_path}/parts", *keys, "budget.steps=13")
    run("--device", "cuda", "train", recipe, f"run={tmp_path}/parts", *keys)
    whole, parts = ([(s["loss"], s["grad_norm"]) for s in metrics(tmp_path / name)] for name in ("whole", "parts"))
    assert parts == whole


def test_bench_step_measures_the_device():
    """Weights and gradients of 140 M parameters do not fit into less, and the processor holds next to nothing."""
    found = json.loads(run("--device", "cuda", "bench", "step", "models/llama-3-proportions.json", "memory.recompute=layer", "--json").stdout)
    assert found["device"].startswith("cuda") and found["peak_bytes"] > 14 * found["parameters"]
