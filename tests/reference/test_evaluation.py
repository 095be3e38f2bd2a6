"""Loss by length against transformers' on the same tokens: every length, the ragged last row, documents, one row, a small split."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import transformers

from e2e.tiny import metrics, run

TOLERANCE = 1e-5
VOCABULARY = 257
COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, bos_token_id=256, eos_token_id=256)
MODELS = {
    "llama": lambda: transformers.LlamaConfig(**COMMON),
    "gemma2": lambda: transformers.Gemma2Config(head_dim=8, sliding_window=12, query_pre_attn_scalar=8, final_logit_softcapping=2.0,
                                                **COMMON),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, resid_pdrop=0,
                                            embd_pdrop=0, attn_pdrop=0, bos_token_id=256, eos_token_id=256),
}
torch.set_num_threads(1)
transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(4)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(50)]
    with open(folder / "text.jsonl", "w") as file:
        for number in range(110):
            file.write(json.dumps({"text": " ".join(rng.choice(words, 10 + number % 37))}) + "\n")
    run("prepare", folder / "text.jsonl", "--tokenizer", "bytes", "--out", folder / "corpus", "--validation", "0.4")
    return folder / "corpus"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    result = {}
    for name, config in MODELS.items():
        torch.manual_seed(7)
        attention = "eager" if name == "gemma2" else "sdpa"  # eager holds scores of whole rows, but has caps
        model = transformers.AutoModelForCausalLM.from_config(config(), attn_implementation=attention).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
        model.save_pretrained(folder / name)
        result[name] = model, folder / name
    return result


def validation_tokens(corpus):
    tokens = np.fromfile(corpus / "validation.bin", dtype=np.uint16).astype(np.int64)
    assert len(tokens) > 3000 and all((len(tokens) - 1) % length for length in (7, 10, 12, 33, 37, 50, 64))
    return torch.from_numpy(tokens)


def pieces_of(row, within_documents):
    """The lengths of the parts of a row that attend to themselves alone: all of it, or each document with its last token."""
    if not within_documents:
        return [len(row)]
    ends = [place + 1 for place, token in enumerate(row.tolist()) if token == 256]
    bounds = [0, *ends, *([len(row)] if not ends or ends[-1] != len(row) else [])]
    return [end - begin for begin, end in zip(bounds, bounds[1:])]


def expected_loss(model, tokens, length, used, within_documents=False, restart=False):
    """The mean over the first `used` tokens as inputs, in rows of `length`, the last as long as what is left."""
    total = 0.0
    for begin in range(0, used, length):
        end = min(begin + length, used)
        row, targets, at = tokens[begin:end], tokens[begin + 1:end + 1], 0
        for piece in pieces_of(row, within_documents):
            positions = torch.arange(piece) + (0 if restart else at)
            with torch.no_grad():
                logits = model(row[None, at:at + piece], position_ids=positions[None]).logits[0]
            losses = torch.nn.functional.cross_entropy(logits, targets[at:at + piece], reduction="none")
            total += float(losses.double().sum())
            at += piece
    return total / used


def used_tokens(tokens, lengths, asked):
    available = len(tokens) - 1  # the last has no successor
    most = min(asked, available)
    return most if most < max(lengths) else most // max(lengths) * max(lengths)


CASES = [
    # lengths, --tokens: multiples; the last row of 50 and of 7 ragged; cut in the middle of a row; one row; one token a row
    ("llama", [16, 64], 1024, []),
    ("llama", [7, 50, 64], 1000, []),
    ("gpt2", [10, 37], 111 + 20, []),
    ("gemma2", [33], 33, []),
    ("gemma2", [1, 12], 25, []),
    # more than one pass of 8,192 tokens would not fit this split; all of it, in one row that is longer than the split
    ("llama", [50, 100_000], 200_000, []),
    ("gemma2", [64, 2048], 1_000_000, []),
    ("llama", [7, 50, 64], 1000, ["data.document_mask=true"]),
    ("gpt2", [50, 64], 1000, ["data.document_mask=true"]),
    ("gpt2", [50, 64], 1000, ["data.document_mask=true", "data.restart_positions=true"]),
]


@pytest.mark.parametrize("name, lengths, asked, overrides", CASES)
def test_loss_at_each_length(name, lengths, asked, overrides, models, corpus):
    model, folder = models[name]
    tokens = validation_tokens(corpus)
    done = run("eval", folder, "--data", corpus, "--lengths", ",".join(map(str, lengths)), "--tokens", asked, "--json", "--threads", "1", *overrides)
    results = json.loads(done.stdout)["lengths"]
    assert [result["length"] for result in results] == lengths
    used = used_tokens(tokens, lengths, asked)
    for result in results:
        expected = expected_loss(model, tokens, result["length"], used, bool(overrides), len(overrides) == 2)
        assert result["tokens"] == used
        assert abs(result["loss"] - expected) <= TOLERANCE
        assert result["perplexity"] == pytest.approx(math.exp(expected), rel=2 * TOLERANCE)


def test_many_passes_add_up(models, corpus, tmp_path):
    """A split of several passes of 8,192 tokens, whose last one is short."""
    model, folder = models["llama"]
    tokens = torch.from_numpy(np.fromfile(corpus / "train.bin", dtype=np.uint16).astype(np.int64))
    for end in ("bin", "idx"):
        for split, other in (("train", "validation"), ("validation", "train")):
            (tmp_path / f"{split}.{end}").write_bytes((corpus / f"{other}.{end}").read_bytes())
    assert len(tokens) > 8192
    done = run("eval", folder, "--data", tmp_path, "--lengths", "50,64", "--tokens", "1e6", "--json", "--threads", "1")
    used = used_tokens(tokens, [64], 10**6)
    for result in json.loads(done.stdout)["lengths"]:
        assert result["tokens"] == used
        assert abs(result["loss"] - expected_loss(model, tokens, result["length"], used)) <= TOLERANCE


RECIPE = """\
model: {model}
run: {run}
data: {{train: {corpus}, validation: {corpus}, document_mask: {mask}}}
budget: {{steps: 6}}
batch: {{tokens: 192}}
length_schedule: {{progress: steps, max_length: 64, segments: [{{length: 32, until: 3}}, {{length: 64, until: end}}]}}
optimizer: {{lr: 3e-3}}
precision: f32
evaluation: {{every: {{steps: 4}}, tokens: 1000, lengths: [7, 50, 64]}}
"""


@pytest.mark.parametrize("mask", ["false", "true"])
def test_what_a_run_logs(mask, models, corpus, tmp_path):
    """The last evaluation is that of the model that the run left; counters of steps are sums of what each step did."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(model=models["llama"][1], run=tmp_path / "run", corpus=corpus, mask=mask))
    run("train", recipe, "--threads", "1")
    trained = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final", attn_implementation="eager").eval()
    tokens = validation_tokens(corpus)
    last = [record for record in metrics(tmp_path / "run", "eval") if record["step"] == 6]
    assert [record["length"] for record in last] == [7, 50, 64]
    for record in last:
        assert abs(record["loss"] - expected_loss(trained, tokens, record["length"], 960, mask == "true")) <= TOLERANCE
        assert record["tokens"] == 6 * 192

    steps = metrics(tmp_path / "run")
    seconds = 0.0
    for number, step in enumerate(steps, 1):
        seconds += step["step_seconds"]
        assert step["tokens"] == number * 192 and step["rows"] * step["length"] == 192
        assert step["seconds"] == pytest.approx(seconds, rel=1e-6)
        assert step["tokens_per_second"] == pytest.approx(192 / step["step_seconds"], rel=1e-6)
    planned = json.loads(run("plan", recipe, "--json").stdout)
    if mask == "false":
        assert steps[-1]["flops"] == pytest.approx(planned["flops"]["executed"], rel=1e-9)
    else:
        assert steps[-1]["flops"] < planned["flops"]["executed"]
    compared = json.loads(run("compare", tmp_path / "run", shutil.copytree(tmp_path / "run", tmp_path / "again"), "--json").stdout)
    for entry, record in zip(compared["runs"][0]["eval"], last, strict=True):
        assert entry == {"length": record["length"], "loss": record["loss"]}
    assert set(compared["against_first"][0]["loss_difference"].values()) == {0}
    assert compared["runs"][0]["flops"] == steps[-1]["flops"] and compared["runs"][0]["tokens"] == 6 * 192


def test_scores_sum_up_to_the_loss(models, corpus, tmp_path):
    tokens = validation_tokens(corpus)[:65]
    (tmp_path / "tokens.json").write_text(json.dumps([tokens.tolist()]))
    scores = json.loads(run("score", models["gemma2"][1], "--tokens", tmp_path / "tokens.json").stdout)[0]
    expected = expected_loss(models["gemma2"][0], tokens, 64, 64)
    assert abs(-sum(scores[1:]) / 64 - expected) <= TOLERANCE
