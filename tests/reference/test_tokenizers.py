"""Ids of real tokenizers, against the `tokenizers` and `sentencepiece` packages, on real and on fuzzed text.

Each text goes through `accordion prepare` as a line of JSON, and the ids are read from the corpus it makes.
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import unicodedata

import pytest

tokenizers = pytest.importorskip("tokenizers")

ACCORDION = os.environ["ACCORDION"]
ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / ".deps" / "test_data"

# Unicode as of version 12: what the tables of PCRE2, utf8proc and `tokenizers` all know.
BLOCKS = [
    (0x00, 0x7F), (0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1680, 0x1680), (0x180B, 0x180E),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x21FF), (0x2500, 0x25FF), (0x3000, 0x30FF), (0x4E00, 0x4FFF),
    (0xAC00, 0xAD00), (0xFB00, 0xFB4F), (0xFE00, 0xFE2F), (0xFF00, 0xFFEF), (0x1D400, 0x1D4FF), (0x1F300, 0x1F64F),
]
PIECES = [
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "'s", "'LL", "don't", "I'VE", "'\u017f", "\u212a", "1", "12345",
    "3.14", "\u00bd", "\u0661\u0662", "hello", " world", "Hello World", "\u0130", "e\u0301", "\u1100\u1161\u11a8", "\u0344",
    "\u2126", "\ufb01", "\u00a0", "\u2003", "\u3000", "\u180e", "\u200b", "\u200d", "\u2028", "\u0085", "\ufeff", "\ufffd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u4f60\u597d", "!!!", "...", " ?!", "_", "\u2581", " \u2581", "</", "<|", "<0x41>",
    "<|endoftext|>", "<|end_of_text|>", "</s>", "<s>", "<|im_start|>", "<think>", "x" * 70, " " * 30, "\u0e01\u0e33", "\u0000", "\u007f",
]


def fuzzed(count, seed):
    rng = random.Random(seed)
    texts = []
    while len(texts) < count:
        parts = []
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.5:
                parts.append(rng.choice(PIECES))
            else:
                low, high = rng.choice(BLOCKS)
                characters = [chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))]
                parts.append("".join(c for c in characters if unicodedata.category(c) != "Cn"))
        text = "".join(parts)
        if text:
            texts.append(text)
    return texts


def real():
    """The repository's own text and Shakespeare, in passages of several sizes."""
    texts = [path.read_text() for path in sorted(ROOT.glob("src/*/*.cpp")) + sorted(ROOT.glob("*.md"))]
    shakespeare = (DATA / "text" / "shakespeare.txt").read_text()
    texts += [shakespeare[at:at + 3000] for at in range(0, 600_000, 3000)]
    return texts + [shakespeare[600_000:1_600_000]]


def documents(corpus):
    """The documents of a corpus's training split without their end-of-text token."""
    index = (corpus / "train.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, marks = struct.unpack("<QBQQ", index[9:34])
    assert version == 1 and marks == sequences + 1
    lengths = struct.unpack(f"<{sequences}i", index[34:34 + 4 * sequences])
    tokens = memoryview((corpus / "train.bin").read_bytes()).cast({8: "H", 4: "i"}[code])
    end = json.loads((corpus / "manifest.json").read_text())["end_of_text"]
    result, at = [], 0
    for length in lengths:
        document = tokens[at:at + length].tolist()
        assert document.pop() == end
        result.append(document)
        at += length
    assert at == len(tokens)
    return result


def prepare(folder, texts, tokenizer):
    lines = folder / "texts.jsonl"
    with lines.open("w") as file:
        for i, text in enumerate(texts):  # escaped and plain spelling in turn
            file.write(json.dumps({"text": text}, ensure_ascii=i % 2 == 0) + "\n")
    subprocess.run([ACCORDION, "prepare", lines, "--tokenizer", tokenizer, "--out", folder / "corpus", "--validation", "0"], check=True)
    return documents(folder / "corpus")


def compare(texts, got, want):
    assert len(got) == len(texts)
    for text, ids in zip(texts, got):
        assert ids == want(text), repr(text[:200])


def json_tokenizer(name):
    path = DATA / name / "tokenizer.json"
    if not path.exists():
        pytest.skip(f"{name} was not fetched (tools/fetch_test_data.sh)")
    return path


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama3", "qwen3", "llama2"])
def test_tokenizer_json(name, tmp_path):
    path = json_tokenizer(name)
    oracle = tokenizers.Tokenizer.from_file(str(path))
    texts = real() + fuzzed(4000, seed=1)
    compare(texts, prepare(tmp_path, texts, path), lambda text: oracle.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("name", ["mistral-v1", "mistral-v3"])
def test_sentencepiece(name, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    path = DATA / name / "tokenizer.model"
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = real() + fuzzed(2000, seed=2)
    compare(texts, prepare(tmp_path, texts, path), lambda text: oracle.encode(text))


TRAINED = {
    "unigram": {"model_type": "unigram"},
    "unigram with bytes": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "identity"},
    "bpe, symbols of the user": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
                                 "remove_extra_whitespaces": False, "user_defined_symbols": ["ing", "<sep>"]},
    "bpe, no prefix": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
                       "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "bpe, spaces removed": {"model_type": "bpe", "byte_fallback": True},
}


@pytest.mark.parametrize("kind", TRAINED)
def test_trained_sentencepiece(kind, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    shakespeare = (DATA / "text" / "shakespeare.txt").read_text()
    (tmp_path / "sample.txt").write_text(shakespeare[:400_000])
    sentencepiece.SentencePieceTrainer.train(input=str(tmp_path / "sample.txt"), model_prefix=str(tmp_path / "tokenizer"),
                                             vocab_size=800, minloglevel=2, **TRAINED[kind])
    oracle = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    texts = [shakespeare[at:at + 2000] for at in range(500_000, 700_000, 2000)] + fuzzed(1000, seed=6)
    compare(texts, prepare(tmp_path, texts, tmp_path / "tokenizer.model"), lambda text: oracle.encode(text))


def test_bytes(tmp_path):
    texts = real() + fuzzed(500, seed=3)
    got = prepare(tmp_path, texts, "bytes")
    compare([t for t in texts if "<|endoftext|>" not in t], [g for t, g in zip(texts, got) if "<|endoftext|>" not in t],
            lambda text: list(text.encode()))
    # The corpus carries it in Hugging Face's format.
    oracle = tokenizers.Tokenizer.from_file(str(tmp_path / "corpus" / "tokenizer.json"))
    compare(texts, got, lambda text: oracle.encode(text).ids)
    assert oracle.get_vocab_size() == 257


VARIANTS = {
    "merges as pairs": {},
    "ignore merges": {"ignore_merges": True},
    "digits one by one": {"pre": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}},
    "prefix space": {"pre": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
    "inverted split": {"pre": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"}, "behavior": "Removed", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}},
    "removed": {"pre": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": "."}, "behavior": "Removed", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}},
    "merged with previous": {"pre": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\s"}, "behavior": "MergedWithPrevious", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}},
    "merged with next": {"pre": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\s"}, "behavior": "MergedWithNext", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}},
    "NFKC": {"normalizer": {"type": "NFKC"}},
    "NFD": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}]}},
    "stripping tokens": {"added": [
        {"id": 50277, "content": "<mask>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True},
        {"id": 50278, "content": "don't", "single_word": False, "lstrip": False, "rstrip": True, "normalized": True, "special": False}]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant, tmp_path):
    """Parts that other families use, grafted onto a real vocabulary."""
    description = json.loads(json_tokenizer("neox").read_text())
    change = VARIANTS[variant]
    description["model"]["ignore_merges"] = change.get("ignore_merges", False)
    description["model"]["merges"] = [merge.split(" ") for merge in description["model"]["merges"]]
    description["pre_tokenizer"] = change.get("pre", description["pre_tokenizer"])
    description["normalizer"] = change.get("normalizer", description["normalizer"])
    description["added_tokens"] += change.get("added", [])
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(description))
    oracle = tokenizers.Tokenizer.from_file(str(path))
    texts = fuzzed(1500, seed=4) + ["a <mask> b", "x  <mask>y", "I don't  know", "\u3000<mask>"]
    compare(texts, prepare(tmp_path, texts, path), lambda text: oracle.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("scheme,split", [("first", False), ("always", True), ("never", False)])
def test_metaspace(scheme, split, tmp_path):
    description = json.loads(json_tokenizer("llama2").read_text())
    description["normalizer"] = None
    description["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(description))
    oracle = tokenizers.Tokenizer.from_file(str(path))
    texts = fuzzed(1500, seed=5)
    compare(texts, prepare(tmp_path, texts, path), lambda text: oracle.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("name", ["neox", "gpt2", "llama3", "qwen3", "llama2", "mistral-v1"])
def test_large_text_in_pieces(name, tmp_path):
    """A large file is encoded piece by piece; its ids are those of the whole."""
    text = (DATA / "text" / "shakespeare.txt").read_text()[:1_500_000]
    source = tmp_path / "text.txt"
    source.write_text(text)
    if name.startswith("mistral"):
        path = DATA / name / "tokenizer.model"
        want = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(path)).encode(text)
    else:
        path = json_tokenizer(name)
        want = tokenizers.Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids
    subprocess.run([ACCORDION, "prepare", source, "--tokenizer", path, "--out", tmp_path / "corpus"], check=True)
    assert documents(tmp_path / "corpus") == [want]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
