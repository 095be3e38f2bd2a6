"""`accordion prepare` and `accordion tokenizer` from the command line."""

import gzip
import json
import os
import signal
import subprocess
import time

import pytest

ACCORDION = os.environ["ACCORDION"]


def accordion(*arguments, cwd):
    return subprocess.run([ACCORDION, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.txt").write_text(f"This is text number {i}. " * 50)
    with gzip.open(folder / "lines.jsonl.gz", "wt") as file:
        for i in range(20):
            file.write(json.dumps({"text": f"line {i} " * 20, "id": i}) + "\n")
    return folder


def test_prepare_then_prepare_with_a_trained_tokenizer(texts, tmp_path):
    made = accordion("tokenizer", texts, "--vocab", 320, "--out", "spm", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "spm" / "tokenizer.model").exists()
    made = accordion("prepare", texts, "--tokenizer", "spm", "--out", "corpora/spm", "--validation", "0.1", "--json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    manifest = json.loads((tmp_path / "corpora/spm/manifest.json").read_text())
    assert result["corpora"] == [manifest]
    assert manifest["vocabulary"] == 320
    assert manifest["train"]["documents"] + manifest["validation"]["documents"] == 25
    assert manifest["validation"]["documents"] == 2
    assert sorted(path.name for path in (tmp_path / "corpora/spm").iterdir()) == [
        "manifest.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "train.bin", "train.idx", "validation.bin", "validation.idx"]


def test_summary_is_for_people(texts, tmp_path):
    made = accordion("prepare", "texts/*.txt", "--tokenizer", "bytes", "--out", "corpus", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "train" in made.stdout and "tokens" in made.stdout and "MB/s" in made.stdout


MISTAKES = [
    (["prepare", "missing.txt", "--tokenizer", "bytes", "--out", "c"], "missing.txt: no such file"),
    (["prepare", "texts", "--tokenizer", "missing", "--out", "c"], "missing: no such tokenizer"),
    (["prepare", "texts", "--tokenizer", "texts", "--out", "c"], "no tokenizer.json or tokenizer.model"),
    (["prepare", "texts", "--tokenizer", "bytes", "--out", "texts"], "other than a corpus"),
    (["prepare", "texts", "--tokenizer", "bytes", "--out", "c", "--text-field", "body"], "no field 'body'"),
    (["prepare", "texts", "--tokenizer", "bytes", "--out", "c", "--validation", "2"], "--validation"),
    (["prepare", "texts", "--tokenizer", "bytes", "--out", "c", "--split", "many"], "--split 'many'"),
    (["prepare", "texts", "--tokenizer", "bytes", "--out", "c", "--glob", "*.html"], "matches --glob '*.html'"),
    (["prepare", "empty.txt", "--tokenizer", "bytes", "--out", "c"], "no text"),
    (["prepare", "bad.jsonl", "--tokenizer", "bytes", "--out", "c"], "bad.jsonl:2: not valid JSON"),
    (["prepare", "table.parquet", "--tokenizer", "bytes", "--out", "c"], "reads no parquet"),
    (["tokenizer", "texts", "--vocab", "100", "--out", "spm"], "--vocab '100'"),
    (["tokenizer", "texts", "--vocab", "100k", "--out", "spm"], "smaller --vocab"),
]


@pytest.mark.parametrize("command,message", MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_are_answered_in_one_line(command, message, texts, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    failed = accordion(*command, cwd=tmp_path)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert failed.stdout == ""
    assert not (tmp_path / "c").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_stop_leaves_nothing_behind(tmp_path):
    with open(tmp_path / "large.txt", "w") as file:
        for i in range(400):
            file.write(f"words and {i} more words\n" * 20_000)
    running = subprocess.Popen([ACCORDION, "prepare", "large.txt", "--tokenizer", "bytes", "--out", "c", "--workers", "1"], cwd=tmp_path)
    while not (tmp_path / "c.partial" / "train.bin").exists():
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    assert running.wait() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["large.txt"]


def test_an_unwritable_place_is_named(texts, tmp_path):
    failed = accordion("prepare", texts, "--tokenizer", "bytes", "--out", "/proc/corpus", cwd=tmp_path)
    assert failed.returncode == 2
    assert "/proc/corpus" in failed.stderr
