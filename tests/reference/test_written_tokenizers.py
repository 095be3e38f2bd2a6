"""Tokenizers as the program writes them: in transformers they give the program's own ids, for any text."""

import json
import os
import pathlib
import shutil
import sys
import unicodedata

import pytest

from e2e.tiny import MODEL, run
from reference.test_tokenizers import DATA, fuzzed, json_tokenizer, prepare

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")
sentencepiece = pytest.importorskip("sentencepiece")

ACCORDION = os.environ["ACCORDION"]
FAMILIES = ["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "gemma2", "mpt"]
NASTY = [
    "", " ", "  ", " a", "  a", "a ", "a  ", "   three   spaces   ", "\n", "\n\n a\n", "\t", "\ta\tb ", "\r\n", "a\r\nb", "<s>", "</s>", "<unk>",
    "<s>a</s>", "a <s> b", "<s> <unk></s>", "<0x41>", "<0x0A><0x0A>", "\u2581", "\u2581a", " \u2581 a\u2581", "a\u2581\u2581", "\u2047", " \u2047 ",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "e\u0301", "\u00e9", "\ufb01ne", "\u2460", "\u00bd", "\uff21",
    "\u212b", "\u00a0", "a\u00a0b", "\u3000x", "\u200b", "\ufeffx", "\x00", "\x7f", "ing", "king", "inging", "ing ing", "<sep>", "a<sep>b", "<sep><s><sep>",
    "ing<s>", "ing</s>ing", "ing<0x41>", "ing<unk>ing <s>", " ing", "The quick brown fox", "12345 6", "\u4f60\u597d \u4e16\u754c", "\ud55c\uad6d\uc5b4",
    "x" * 70, " " * 30, "a" + " " * 30 + "b", "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f", "\u05e9\u05c1\u05c7\u05dc\u05d5\u05b9\u05dd",
]

# What a sentencepiece model may be. "marks": sequences of combining marks, on which `tokenizers` applies a character map otherwise.
IDENTITY = {"normalization_rule_name": "identity"}
KEPT = {**IDENTITY, "remove_extra_whitespaces": False}
KINDS = {
    "bpe as accordion trains": {"model_type": "bpe", "byte_fallback": True, **KEPT, "allow_whitespace_only_pieces": True, "split_digits": True},
    "bpe, no bytes": {"model_type": "bpe", **KEPT},
    "bpe, spaces removed": {"model_type": "bpe", "byte_fallback": True, **IDENTITY},
    "bpe, no prefix": {"model_type": "bpe", "byte_fallback": True, **KEPT, "add_dummy_prefix": False},
    "bpe, symbols": {"model_type": "bpe", "byte_fallback": True, **KEPT, "user_defined_symbols": ["ing", "<sep>", "th", "the", "?", "\n\n", "a.b*[c]"]},
    "bpe, symbols, no prefix": {"model_type": "bpe", "byte_fallback": True, **KEPT, "add_dummy_prefix": False, "user_defined_symbols": ["ing", "<sep>"]},
    "bpe, symbols, controls": {"model_type": "bpe", **KEPT, "user_defined_symbols": ["ing"], "control_symbols": ["[INST]", "<pad>"]},
    "bpe, nfkc": {"model_type": "bpe", "byte_fallback": True},
    "unigram": {"model_type": "unigram", **KEPT},
    "unigram, bytes": {"model_type": "unigram", "byte_fallback": True, **IDENTITY},
    "unigram, symbols": {"model_type": "unigram", "byte_fallback": True, **KEPT, "user_defined_symbols": ["ing", "<sep>", "the"]},
    "unigram, nfkc": {"model_type": "unigram"},
    "unigram, plain nfkc, spaces kept": {"model_type": "unigram", "normalization_rule_name": "nfkc", "remove_extra_whitespaces": False},
    "characters": {"model_type": "char", **KEPT, "user_defined_symbols": ["ing"]},
}


def train(folder, options, vocabulary=600):
    sample = (DATA / "text" / "shakespeare.txt").read_text()[20_000:120_000]
    (folder / "sample.txt").write_text(sample)
    sentencepiece.SentencePieceTrainer.train(input=str(folder / "sample.txt"), model_prefix=str(folder / "tokenizer"), minloglevel=2,
                                             hard_vocab_limit=False, vocab_size=vocabulary, **options)
    return folder / "tokenizer.model"


def plain(text):
    """Whether `tokenizers` applies a character map to the text as sentencepiece does: it goes by graphemes of at most five bytes, so
    that a mark is lost after a character that the map changes, and several marks or parts of Hangul are not put together."""
    for i, c in enumerate(text):
        mark = unicodedata.category(c)[0] == "M" or c in "\u0e33\u0eb3\u200c\u200d\uff9e\uff9f" or "\u1100" <= c < "\u1200"
        before = text[i - 1] if i else "a"
        if mark and (unicodedata.category(before)[0] == "M" or unicodedata.normalize("NFKC", before) != before or len((before + c).encode()) > 5):
            return False
    return True


def texts_for(kind, seed):
    texts = NASTY + fuzzed(250, seed)
    if "nfkc" in kind:
        texts = NASTY + [text for text in fuzzed(500, seed) if plain(text)] + ["e\u0301", "A\u0308 u\u0308", "Cafe\u0301 nai\u0308ve"]
        assert len(texts) > 250
    return texts


def written(folder, tokenizer, texts=("a text",)):
    """A folder with the files that the program writes, and the ids of the texts in the corpus."""
    ids = prepare(folder, [text for text in texts if text], tokenizer)
    return folder / "corpus", ids


def auto(folder, family, name="auto"):
    """AutoTokenizer as of a model of that family."""
    copy = folder.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.bin", "*.idx"))
    (copy / "config.json").write_text(json.dumps({"model_type": family, "vocab_size": 1000}))
    return transformers.AutoTokenizer.from_pretrained(copy)


def differing(texts, want, got):
    return [text for text in texts if want(text) != got(text)]


@pytest.mark.parametrize("kind", KINDS)
def test_sentencepiece(kind, tmp_path):
    model = train(tmp_path, KINDS[kind])
    texts = texts_for(kind, seed=8)
    folder, ids = written(tmp_path, model, texts)
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(model))
    ours = dict(zip([text for text in texts if text], ids))
    assert not differing([text for text in texts if text], oracle.encode, ours.get)
    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert not differing(texts, oracle.encode, lambda text: plain.encode(text).ids)
    theirs = auto(folder, "llama")
    assert not differing(texts, oracle.encode, lambda text: theirs(text).input_ids)
    assert (theirs.eos_token_id, theirs.bos_token_id, theirs.unk_token_id) == (oracle.eos_id(), oracle.bos_id(), oracle.unk_id())
    assert theirs.decode([*oracle.encode("a text"), oracle.eos_id()], skip_special_tokens=True) == "a text"
    assert len(theirs) == oracle.vocab_size()


def test_a_sentencepiece_model_without_an_end(tmp_path):
    model = train(tmp_path, {**KINDS["bpe, no bytes"], "eos_id": -1, "bos_id": -1, "user_defined_symbols": ["<sep>"]})
    (tmp_path / "a.txt").write_text("some words")
    command = ["prepare", tmp_path / "a.txt", "--tokenizer", model, "--out", tmp_path / "corpus"]
    refused = run(*command, check=False)
    assert refused.returncode == 2 and "--eos" in refused.stderr and refused.stderr.count("\n") == 1
    for chosen in ["<sep>", str(sentencepiece.SentencePieceProcessor(model_file=str(model)).piece_to_id("<sep>"))]:
        run(*command, "--eos", chosen)
        assert auto(tmp_path / "corpus", "llama").eos_token == "<sep>"
    model = train(tmp_path, {**KINDS["bpe, no bytes"], "eos_id": -1, "control_symbols": ["<|endoftext|>"]})
    assert "documents end with <|endoftext|> (2), from tokenizer.model" in run(*command).stdout


def test_bytes(tmp_path):
    texts = NASTY + fuzzed(300, seed=9) + ["<|endoftext|>", "a<|endoftext|> b"]
    folder, ids = written(tmp_path, "bytes", texts)
    assert ids[0] == [0x20]
    theirs = auto(folder, "llama")
    assert not differing([text for text in texts if text], dict(zip([text for text in texts if text], ids)).get, lambda text: theirs(text).input_ids)
    assert (theirs.eos_token_id, theirs.bos_token_id, len(theirs)) == (256, None, 257)


@pytest.mark.parametrize("name", ["mistral-v1", "mistral-v3"])
def test_real_sentencepiece(name, tmp_path):
    model = DATA / name / "tokenizer.model"
    folder, _ = written(tmp_path, model)
    shakespeare = (DATA / "text" / "shakespeare.txt").read_text()
    texts = NASTY + fuzzed(300, seed=10) + [shakespeare[at:at + 2000] for at in range(0, 200_000, 4000)] + [" " * n + "x" for n in range(100)]
    oracle, theirs = sentencepiece.SentencePieceProcessor(model_file=str(model)), auto(folder, "mistral")
    assert not differing(texts, oracle.encode, lambda text: theirs(text).input_ids)


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama3", "qwen3", "llama2"])
def test_a_tokenizer_that_was_imported_stays_what_it_was(name, tmp_path):
    source = json_tokenizer(name).parent
    folder, _ = written(tmp_path, source)
    assert (folder / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    theirs, manifest = auto(folder, "llama"), json.loads((folder / "manifest.json").read_text())
    assert theirs.eos_token_id == manifest["end_of_text"]
    known = json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    assert [token["content"] for token in known if token["special"] and token["id"] == manifest["end_of_text"]] == [manifest["end_of_text_token"]]


RECIPE = """\
model: {folder}/model.json
run: {folder}/run
data: {{train: {folder}/corpus}}
budget: {{steps: 60}}
batch: {{tokens: 256}}
length_schedule: {{length: 64}}
optimizer: {{lr: 1e-2}}
lr_schedule: {{warmup: {{steps: 5}}}}
precision: f32
evaluation: {{tokens: 64}}
"""


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_trained_model_ends_its_texts_in_transformers(family, tmp_path):
    sentence = "once upon a time there was a caf\u00e9."
    train(tmp_path, KINDS["bpe as accordion trains"], vocabulary=400)
    (tmp_path / "text.jsonl").write_text((json.dumps({"text": sentence}) + "\n") * 100)
    run("prepare", tmp_path / "text.jsonl", "--tokenizer", tmp_path / "tokenizer.model", "--out", tmp_path / "corpus", "--validation", 0.1)
    model = {**MODEL, "model_type": family, "architectures": None, "vocab_size": 512, "eos_token_id": 40, "bos_token_id": 41}
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    run("train", tmp_path / "recipe.yaml")
    final = tmp_path / "run/final"
    theirs = transformers.AutoTokenizer.from_pretrained(final)
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert not differing(NASTY, oracle.encode, lambda text: theirs(text).input_ids)
    network = transformers.AutoModelForCausalLM.from_pretrained(final)
    ids = network.generate(**theirs("once upon", return_tensors="pt"), max_new_tokens=100, do_sample=False)[0].tolist()
    assert ids == [*oracle.encode(sentence), oracle.eos_id()]
    assert theirs.decode(ids, skip_special_tokens=True) == sentence
    ours = run("generate", final, "--prompt", "once upon", "--temperature", 0).stdout
    assert ours == sentence + "\n"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
