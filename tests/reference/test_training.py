"""Training against a plain PyTorch loop over the transformers model: same weights, same tokens, across a change of length."""

import json
import math

import numpy as np
import pytest
import torch
import transformers

from e2e.tiny import metrics, run

VOCABULARY = 257
SPACE = 32  # of the bytes: the commonest
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 256, "eos_token_id": 256}
FAMILIES = {
    "gpt2": lambda: transformers.GPT2Config(n_embd=48, n_layer=2, n_head=3, n_positions=64, resid_pdrop=0, embd_pdrop=0,
                                            attn_pdrop=0, **COMMON),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                   intermediate_size=96, rotary_pct=0.25, **COMMON),
    "llama": lambda: transformers.LlamaConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=6,
                                              num_key_value_heads=2, intermediate_size=96, **COMMON),
    "mistral": lambda: transformers.MistralConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=6,
                                                  num_key_value_heads=2, intermediate_size=96, sliding_window=24, **COMMON),
    "qwen2": lambda: transformers.Qwen2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=6,
                                              num_key_value_heads=2, intermediate_size=96, use_sliding_window=True,
                                              sliding_window=24, max_window_layers=1, **COMMON),
    "gemma2": lambda: transformers.Gemma2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                                                head_dim=8, intermediate_size=96, sliding_window=24, query_pre_attn_scalar=8,
                                                attn_logit_softcapping=1.0, final_logit_softcapping=0.5, **COMMON),
    "mpt": lambda: transformers.MptConfig(d_model=48, n_layers=2, n_heads=6, max_seq_len=64, vocab_size=VOCABULARY),
}
STEPS, SWITCH, TOKENS, LR, WARMUP = 30, 15, 256, 3e-3, 5


def lengths():
    return [16 if step < SWITCH else 64 for step in range(STEPS)]


def learning_rate(step, tokens, warmup_tokens):
    """lr * min(1, n / w), then a cosine over the tokens from the end of warmup to the budget."""
    n = step + 1
    if n <= WARMUP:
        return LR * n / WARMUP
    share = (tokens - warmup_tokens) / (STEPS * TOKENS - warmup_tokens)
    return LR * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1, share))) / 2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(50)]
    with open(folder / "text.jsonl", "w") as file:
        for _ in range(60):
            file.write(json.dumps({"text": " ".join(rng.choice(words, 60))}) + "\n")
    run("prepare", folder / "text.jsonl", "--tokenizer", "bytes", "--out", folder / "corpus")
    tokens = np.fromfile(folder / "corpus" / "train.bin", dtype=np.uint16).astype(np.int64)
    assert len(tokens) > STEPS * TOKENS
    return folder / "corpus", tokens


def save_initial(family, folder, config=None):
    torch.manual_seed(11)
    model = transformers.AutoModelForCausalLM.from_config(config or FAMILIES[family](), attn_implementation="eager")
    with torch.no_grad():  # biases and norms away from 0 and 1, so that every term matters
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.generation_config.pad_token_id = None  # a negative one is refused there
    model.save_pretrained(folder)
    return model


def plain_loop(model, tokens, z_loss, label_smoothing, steps=STEPS, rate=learning_rate):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  betas=(0.9, 0.95), eps=1e-8)
    at = trained = warmup_tokens = 0
    losses, norms = [], []
    for step, length in enumerate(lengths()[:steps]):
        rows = TOKENS // length
        window = torch.from_numpy(tokens[at: at + TOKENS + 1])
        at += TOKENS
        logits = model(window[:-1].view(rows, length)).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[1:], label_smoothing=label_smoothing)
        loss = loss + z_loss * logits.logsumexp(-1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        for group in optimizer.param_groups:
            group["lr"] = rate(step, trained, warmup_tokens)
        optimizer.step()
        trained += TOKENS
        if step + 1 == WARMUP:
            warmup_tokens = trained
        losses.append(float(loss.detach()))
    return losses, norms


RECIPE = """\
model: {model}
run: {run}
data: {{train: {corpus}, validation: {corpus}, shuffle: false}}
budget: {{steps: {steps}}}
batch: {{tokens: {tokens}, microbatch: {microbatch}}}
length_schedule:
  progress: steps
  max_length: 64
  segments: [{{length: 16, until: {switch}}}, {{length: 64, until: end}}]
loss: {{z_loss: {z_loss}, label_smoothing: {label_smoothing}}}
optimizer: {{lr: {lr}}}
lr_schedule: {{warmup: {{steps: {warmup}}}}}
precision: f32
evaluation: {{every: {{steps: 100}}, tokens: 64, lengths: [64]}}
"""


@pytest.mark.parametrize("family, z_loss, label_smoothing", [*((family, 0, 0) for family in FAMILIES), ("llama", 1e-2, 0.1)])
def test_same_losses_and_norms(family, z_loss, label_smoothing, corpus, tmp_path):
    folder, tokens = corpus
    model = save_initial(family, tmp_path / "model")
    losses, norms = plain_loop(model, tokens, z_loss, label_smoothing)
    for microbatch in (1000, 3):
        name = tmp_path / f"run-{microbatch}"
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(
            model=tmp_path / "model", run=name, corpus=folder, steps=STEPS, tokens=TOKENS, microbatch=microbatch,
            switch=SWITCH, lr=LR, warmup=WARMUP, z_loss=z_loss, label_smoothing=label_smoothing))
        run("train", tmp_path / "recipe.yaml")
        steps = metrics(name)
        assert [s["length"] for s in steps] == lengths()
        for step, loss, norm in zip(steps, losses, norms, strict=True):
            assert abs(step["loss"] - loss) < 2e-3, (family, microbatch, step["step"])
            assert abs(step["grad_norm"] - norm) < 1e-3 * norm, (family, microbatch, step["step"])
    trained = transformers.AutoModelForCausalLM.from_pretrained(name / "final", attn_implementation="eager")
    ids = torch.from_numpy(tokens[:48])[None]
    with torch.no_grad():
        difference = (trained(ids).logits - model(ids).logits).abs().max()
    assert difference < 2e-2  # thirty steps apart in the order of additions


PADDED = {
    "llama": dict(pad_token_id=SPACE),
    "llama-from-the-end": dict(pad_token_id=SPACE - VOCABULARY, tie_word_embeddings=True),
    "mistral": dict(pad_token_id=SPACE),
    "qwen2": dict(pad_token_id=SPACE, tie_word_embeddings=True),
    "gemma2": dict(pad_token_id=SPACE),
    "gpt2": dict(pad_token_id=SPACE),
    "gpt_neox": dict(pad_token_id=SPACE),
    "mpt": dict(pad_token_id=SPACE, tie_word_embeddings=False),
}
MEMORY = {"plain": [], "in two passes": ["memory.optimizer_in_backward=two_pass"],
          "by chunks": ["memory={recompute: layer, mini_sequence: {mlp: 50, attention: 12, head: 70}}"]}


@pytest.mark.parametrize("case, memory", [(case, "plain") for case in PADDED] + [("llama", "in two passes"), ("llama", "by chunks"),
                                          ("llama-from-the-end", "in two passes"), ("llama-from-the-end", "by chunks")])
def test_the_padding_row_learns_what_it_learns_in_pytorch(case, memory, corpus, tmp_path):
    """nn.Embedding's padding_idx: inputs give that row no gradient; a tied head still does. Families without one: every row."""
    folder, tokens = corpus
    family = case.split("-")[0]
    config = FAMILIES[family]()
    for key, value in PADDED[case].items():
        setattr(config, key, value)
    model = save_initial(family, tmp_path / "model", config)
    table = model.get_input_embeddings()
    assert (table.padding_idx is None) == (family in ("gpt2", "gpt_neox", "mpt"))
    before = table.weight[SPACE].detach().clone()
    losses, norms = plain_loop(model, tokens, 0, 0, steps=6, rate=lambda step, *_: LR * min(1, (step + 1) / WARMUP))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(
        model=tmp_path / "model", run=tmp_path / "run", corpus=folder, steps=6, tokens=TOKENS, microbatch="auto",
        switch=SWITCH, lr=LR, warmup=WARMUP, z_loss=0, label_smoothing=0))
    run("train", tmp_path / "recipe.yaml", "lr_schedule.kind=constant", *MEMORY[memory], "--threads", "1")
    steps = metrics(tmp_path / "run")
    for step, loss, norm in zip(steps, losses, norms, strict=True):
        assert abs(step["loss"] - loss) < 1e-4
        assert abs(step["grad_norm"] - norm) < 1e-4 * norm
    trained = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final").get_input_embeddings()
    assert (trained.weight[SPACE] - table.weight[SPACE]).abs().max() < 1e-4
    stays = table.padding_idx is not None and not config.tie_word_embeddings
    assert ((trained.weight[SPACE] - before).abs().max() < 1e-3) == stays  # but for weight decay
