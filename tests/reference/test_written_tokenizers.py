"""Tokenizers as the program writes them: in transformers they give the program's own ids, for any text."""

import json
import os
import pathlib
import shutil
import sys
import unicodedata

import pytest

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
    sample = (DATA / "text" / "shakespeare.txt").read_text()[20_000:220_000]
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
    texts = NASTY + fuzzed(400, seed)
    if "nfkc" in kind:
        texts = NASTY + [text for text in fuzzed(900, seed) if plain(text)] + ["e\u0301", "A\u0308 u\u0308", "Cafe\u0301 nai\u0308ve"]
        assert len(texts) > 400
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


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
