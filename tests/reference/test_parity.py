"""The models against transformers: what one writes, the other reads, with the same log-probabilities."""

import json
import os
import subprocess

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

ACCORDION = os.environ["ACCORDION"]
TOLERANCE = 2e-4  # f32, the largest difference of a log-probability
VOCABULARY = 97
torch.set_num_threads(1)  # tiny models: more threads would wait for each other

GPT2 = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0)
NEOX = dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
            max_position_embeddings=64)
LLAMA = dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, intermediate_size=80,
             max_position_embeddings=64)
MPT = dict(vocab_size=VOCABULARY, d_model=48, n_layers=3, n_heads=4, max_seq_len=64)
# Windows shorter than the rows, caps below the scores and logits. transformers reads null for "off".
MISTRAL = LLAMA | dict(num_key_value_heads=2, sliding_window=7)
QWEN2 = LLAMA | dict(num_key_value_heads=3)
GEMMA2 = LLAMA | dict(num_hidden_layers=4, num_key_value_heads=2, head_dim=12, sliding_window=7, query_pre_attn_scalar=10,
                      attn_logit_softcapping=1.5, final_logit_softcapping=3.0)
LLAMA3_SCALING = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                      original_max_position_embeddings=32)

CASES = {
    "gpt2": ("gpt2", GPT2),
    "gpt2-one-head-exact-gelu": ("gpt2", GPT2 | dict(n_head=1, n_inner=72, activation_function="gelu")),
    "gpt2-untied-unscaled": ("gpt2", GPT2 | dict(n_head=6, tie_word_embeddings=False, scale_attn_weights=False)),
    "neox-parallel": ("gpt_neox", NEOX),
    "neox-sequential": ("gpt_neox", NEOX | dict(num_attention_heads=3, use_parallel_residual=False)),
    "neox-wholly-rotary-tied": ("gpt_neox", NEOX | dict(rotary_pct=1.0, rotary_emb_base=500, tie_word_embeddings=True)),
    "neox-half-rotary-no-attention-bias": ("gpt_neox", NEOX | dict(num_attention_heads=6, rotary_pct=0.5, attention_bias=False,
                                                                   hidden_act="gelu_new")),
    "neox-linear-scaling": ("gpt_neox", NEOX | dict(rope_scaling=dict(rope_type="linear", factor=3.0))),
    "llama": ("llama", LLAMA),
    "llama-grouped-tied": ("llama", LLAMA | dict(num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-3)),
    "llama-one-key-biases": ("llama", LLAMA | dict(num_key_value_heads=1, attention_bias=True, mlp_bias=True)),
    "llama-wide-heads-llama3": ("llama", LLAMA | dict(num_attention_heads=3, num_key_value_heads=3, head_dim=24,
                                                      rope_theta=5000.0, rope_scaling=LLAMA3_SCALING)),
    "llama-linear-scaling": ("llama", LLAMA | dict(rope_scaling=dict(rope_type="linear", factor=2.0))),
    "mistral": ("mistral", MISTRAL),
    "mistral-without-window": ("mistral", MISTRAL | dict(sliding_window=None, head_dim=12, tie_word_embeddings=True)),
    "mistral-window-of-one": ("mistral", MISTRAL | dict(sliding_window=1)),
    "mistral-llama3": ("mistral", MISTRAL | dict(sliding_window=40, rope_theta=5000.0, rope_scaling=LLAMA3_SCALING)),
    "qwen2": ("qwen2", QWEN2),
    "qwen2-last-layers-slide": ("qwen2", QWEN2 | dict(use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "qwen2-named-layers-slide-tied": ("qwen2", QWEN2 | dict(use_sliding_window=True, sliding_window=9, tie_word_embeddings=True,
                                                            layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    "gemma2": ("gemma2", GEMMA2),
    "gemma2-without-caps": ("gemma2", GEMMA2 | dict(attn_logit_softcapping=None, final_logit_softcapping=None)),
    "gemma2-untied-biases": ("gemma2", GEMMA2 | dict(tie_word_embeddings=False, attention_bias=True, rope_theta=500.0)),
    "gemma2-named-layers-slide": ("gemma2", GEMMA2 | dict(layer_types=["full_attention", "full_attention", "sliding_attention",
                                                                       "full_attention"])),
    "gemma2-no-layer-slides": ("gemma2", GEMMA2 | dict(layer_types=["full_attention"] * 4)),
    "mpt": ("mpt", MPT),
    "mpt-three-heads": ("mpt", MPT | dict(n_heads=3)),
    "mpt-twelve-heads": ("mpt", MPT | dict(n_heads=12, attn_config=dict(softmax_scale=0.5))),
    "mpt-six-heads-untied": ("mpt", MPT | dict(n_heads=6, tie_word_embeddings=False)),
}


def reference(case, seed=0):
    """A model of transformers whose every weight matters: norms off one, biases off zero."""
    kind, settings = CASES[case]
    # Copied: some configurations change the dictionaries that they are given.
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **json.loads(json.dumps(settings))), attn_implementation="eager")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.empty(parameter.shape).normal_(0, 0.2, generator=generator)
            parameter.copy_(noise + 1 if parameter.dim() == 1 and parameter.mean() > 0.5 else noise)
    return model.eval()


def sequences(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in (33, 64, 2, 1)]


def expected_scores(model, rows):
    result = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row])
            logits = torch.log_softmax(model(ids).logits[0].float(), -1)
            result.append([None] + [logits[t - 1, row[t]].item() for t in range(1, len(row))])
    return result


def accordion(*arguments):
    done = subprocess.run([ACCORDION, *map(str, arguments), "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scores(model, rows, folder, *overrides):
    file = folder / "tokens.json"
    file.write_text(json.dumps(rows))
    return json.loads(accordion("score", model, "--tokens", file, *overrides))


def largest_difference(ours, theirs):
    assert [len(row) for row in ours] == [len(row) for row in theirs]
    assert all(row[0] is None for row in ours)
    return max(abs(a - b) for x, y in zip(ours, theirs) for a, b in zip(x[1:], y[1:]))


@pytest.mark.parametrize("case", CASES)
def test_scores_of_what_transformers_writes(case, tmp_path):
    model = reference(case)
    model.save_pretrained(tmp_path)
    rows = sequences()
    theirs = expected_scores(model, rows)
    assert max(value for row in theirs for value in row[1:]) - min(value for row in theirs for value in row[1:]) > 2
    assert largest_difference(scores(tmp_path, rows, tmp_path), theirs) < TOLERANCE


@pytest.mark.parametrize("case", ["gpt2", "neox-parallel", "llama-grouped-tied", "gemma2", "mpt"])
def test_scores_from_shards(case, tmp_path):
    model = reference(case)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    rows = sequences()
    assert largest_difference(scores(tmp_path, rows, tmp_path), expected_scores(model, rows)) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_half_precision_files(dtype, tmp_path):
    reference("llama").to(dtype).save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    rows = sequences()
    assert largest_difference(scores(tmp_path, rows, tmp_path), expected_scores(model, rows)) < TOLERANCE


def test_scores_of_older_spellings(tmp_path):
    """config.json and tensor names as transformers 4.44 wrote them, buffers included."""
    rows = sequences()
    for case, changes in {
        "neox-half-rotary-no-attention-bias": dict(rotary_pct=0.5, rotary_emb_base=10000, rope_scaling=None),
        "llama-wide-heads-llama3": dict(rope_theta=5000.0, rope_scaling=LLAMA3_SCALING),
    }.items():
        model = reference(case)
        folder = tmp_path / case
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config.pop("rope_parameters")
        (folder / "config.json").write_text(json.dumps(config | changes))
        tensors = load_file(folder / "model.safetensors")
        if case.startswith("neox") and "lm_head.weight" in tensors:
            tensors["embed_out.weight"] = tensors.pop("lm_head.weight")
        for layer in range(config["num_hidden_layers"]):
            if case.startswith("neox"):
                tensors[f"gpt_neox.layers.{layer}.attention.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool)
                tensors[f"gpt_neox.layers.{layer}.attention.masked_bias"] = torch.tensor(-1e9)
                tensors[f"gpt_neox.layers.{layer}.attention.rotary_emb.inv_freq"] = torch.ones(2)
            else:
                tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(12)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        assert largest_difference(scores(folder, rows, tmp_path), expected_scores(model, rows)) < TOLERANCE


def test_scores_of_a_bare_base_model(tmp_path):
    model = reference("gpt2")
    model.transformer.save_pretrained(tmp_path)
    assert "wte.weight" in load_file(tmp_path / "model.safetensors")
    rows = sequences()
    assert largest_difference(scores(tmp_path, rows, tmp_path), expected_scores(model, rows)) < TOLERANCE


RECIPE = """
model: {model}
run: {run}
data: {{train: {corpus}}}
budget: {{steps: 1}}
batch: {{tokens: 64}}
length_schedule: {{length: 32}}
optimizer: {{lr: 0, weight_decay: 0}}
evaluation: {{tokens: 32}}
precision: {precision}
seed: {seed}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "text").mkdir()
    for number in range(4):
        (folder / "text" / f"{number}.txt").write_text(f"Document {number} has a few words.\n" * 20)
    accordion("prepare", folder / "text", "--tokenizer", "bytes", "--out", folder / "bytes")
    return folder / "bytes"


def written(case, corpus, folder, precision="f32", seed=3, **changes):
    """The directory of a model that Accordion initialised: one step at a learning rate of 0."""
    kind, settings = CASES[case]
    model = folder / "config.json"
    # A vocabulary of its own size, so that only the byte tokenizer's ids have to be below it.
    model.write_text(json.dumps(dict(model_type=kind) | settings | dict(vocab_size=300) | changes))
    (folder / "recipe.yaml").write_text(RECIPE.format(model=model, run=folder / "run", corpus=corpus, precision=precision, seed=seed))
    accordion("train", folder / "recipe.yaml")
    return folder / "run" / "final"


def opened(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


WRITTEN = ["gpt2", "gpt2-untied-unscaled", "neox-parallel", "neox-linear-scaling", "llama-grouped-tied", "llama-wide-heads-llama3",
           "llama-one-key-biases", "mistral", "mistral-without-window", "qwen2", "qwen2-last-layers-slide",
           "qwen2-named-layers-slide-tied", "gemma2", "gemma2-without-caps", "gemma2-untied-biases", "gemma2-no-layer-slides",
           "mpt-three-heads", "mpt-six-heads-untied"]


@pytest.mark.parametrize("case", WRITTEN)
def test_what_accordion_writes_opens_in_transformers(case, corpus, tmp_path):
    folder = written(case, corpus, tmp_path)
    rows = sequences()
    assert largest_difference(scores(folder, rows, tmp_path), expected_scores(opened(folder), rows)) < TOLERANCE


def test_loss_by_length_of_soft_capped_logits(corpus, tmp_path):
    folder = written("gemma2", corpus, tmp_path, initializer_range=0.5)
    result = json.loads(accordion("eval", folder, "--data", corpus, "--lengths", "32", "--tokens", "32", "--json"))
    tokens = np.fromfile(corpus / "validation.bin", dtype=np.uint16).astype(int).tolist()[:33]
    model = opened(folder)
    assert model.config.final_logit_softcapping == 3.0
    expected = -sum(expected_scores(model, [tokens])[0][1:]) / 32
    assert result["lengths"][0]["loss"] == pytest.approx(expected, abs=TOLERANCE)


def test_a_model_without_positions_opens_in_transformers(corpus, tmp_path):
    folder = written("gpt2", corpus, tmp_path, accordion=dict(position="none"))
    model = opened(folder)
    assert not model.transformer.wpe.weight.any()
    rows = sequences()
    ours = scores(folder, rows, tmp_path)
    assert largest_difference(ours, expected_scores(model, rows)) < TOLERANCE
    assert scores(tmp_path / "config.json", rows, tmp_path, "seed=3") == ours


def test_bf16_weights_open_in_transformers(corpus, tmp_path):
    folder = written("llama", corpus, tmp_path, precision="bf16")
    assert load_file(folder / "model.safetensors")["lm_head.weight"].dtype == torch.bfloat16
    rows = sequences()
    assert largest_difference(scores(folder, rows, tmp_path), expected_scores(opened(folder), rows)) < TOLERANCE


@pytest.mark.parametrize("case", ["gpt2", "neox-parallel", "llama-one-key-biases", "mistral", "qwen2", "gemma2", "mpt-three-heads"])
def test_initialisation_is_that_of_transformers(case, corpus, tmp_path):
    ours = load_file(written(case, corpus, tmp_path, initializer_range=0.03) / "model.safetensors")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "run" / "final")
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "theirs")
    theirs = load_file(tmp_path / "theirs" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        if tensor.dim() == 1:
            assert torch.equal(ours[name], tensor), name
        else:
            assert torch.equal(ours[name].any(1), tensor.any(1)), name  # the padding token's row is zero
            deviation, noise = tensor.std().item(), 5 / tensor.numel() ** 0.5
            assert ours[name].std().item() == pytest.approx(deviation, rel=noise), name
            assert abs(ours[name].mean().item()) < deviation * noise, name
