"""`accordion prepare` and `accordion tokenizer` from the command line."""

import bz2
import gzip
import io
import json
import lzma
import os
import signal
import struct
import subprocess
import tarfile
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


def documents(corpus):
    """The texts of a corpus of bytes."""
    index = (corpus / "train.idx").read_bytes()
    count = struct.unpack("<Q", index[18:26])[0]
    ids = memoryview((corpus / "train.bin").read_bytes()).cast("H").tolist()
    texts, at = [], 0
    for length in struct.unpack(f"<{count}i", index[34:34 + 4 * count]):
        assert ids[at + length - 1] == 256
        texts.append(bytes(ids[at:at + length - 1]).decode())
        at += length
    return texts


def prepared(folder, *inputs, cwd):
    made = accordion("prepare", *inputs, "--tokenizer", "bytes", "--out", folder, "--validation", "0", cwd=cwd)
    assert made.returncode == 0, made.stderr
    return documents(cwd / folder)


ROWS = [{"text": "one\n\u00e9", "score": float("nan")}, {"text": "two", "score": float("inf"), "more": [float("-inf")]}, {"id": 10**400, "text": "three \ud83d"}]
TEXTS = ["one\n\u00e9", "two", "three \ufffd"]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
INPUTS = {
    "c4-train.00000-of-01024.json.gz": gzip.compress(LINES),
    "DUMP.JSONL.GZ": gzip.compress(LINES[:50]) + gzip.compress(b"") + gzip.compress(LINES[50:]) + bytes(512),
    "dump.json.zst": LINES,  # what is inside decides
    "dump.ndjson": LINES.replace(b"\n", b"\r\n"),
    "dump.ldjson.xz": lzma.compress(LINES[:50]) + lzma.compress(LINES[50:]),
    "dump.jsonl.bz2": bz2.compress(LINES[:50]) + bz2.compress(LINES[50:]),
    "dump.gz.1": gzip.compress(LINES),
    "dump": bz2.compress(LINES.rstrip(b"\n")),
    "bom.json": b"\xef\xbb\xbf" + LINES,
    "array.json": json.dumps(ROWS).encode(),
    "indented.json.xz": lzma.compress(json.dumps(ROWS, indent=2).encode()),
    "objects.json": "".join(json.dumps(row, indent=2) + "\n" for row in ROWS).encode(),
}


def test_what_is_inside_decides(tmp_path):
    for name, content in INPUTS.items():
        (tmp_path / name).write_bytes(content)
    assert prepared("corpus", *INPUTS, cwd=tmp_path) == TEXTS * len(INPUTS)


def test_a_tokenizer_reads_the_same_inputs(tmp_path):
    text = "the quick brown fox jumps over the lazy dog, " * 40
    (tmp_path / "plain.txt").write_text(text)
    (tmp_path / "array.json.gz").write_bytes(gzip.compress(json.dumps([{"text": text}], indent=1).encode()))
    for name in ["plain.txt", "array.json.gz"]:
        made = accordion("tokenizer", name, "--vocab", "300", "--out", name + ".spm", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
    pieces = [(tmp_path / f"{name}.spm" / "tokenizer.model").read_bytes() for name in ["plain.txt", "array.json.gz"]]
    assert pieces[0] == pieces[1]


def test_a_folder_gives_all_its_texts_and_nothing_hidden(tmp_path):
    for name, content in INPUTS.items():
        if "." in name and not name.endswith(".1"):
            (tmp_path / "in" / "sub").mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / "sub" / name).write_bytes(content)
    for name in [".cache/a.txt", ".b.txt", "sub/.git/c.jsonl"]:
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("hidden")
    (tmp_path / "in" / "plain.TXT.XZ").write_bytes(lzma.compress(b"\xef\xbb\xbfplain\r\n \xef\xbb\xbf"))
    assert sorted(prepared("corpus", "in", cwd=tmp_path)) == sorted(TEXTS * 10 + ["plain\r\n \ufeff"])
    assert prepared("corpus", "in/.cache", cwd=tmp_path) == ["hidden"]
    assert prepared("corpus", "in", "--glob", ".cache/*", cwd=tmp_path) == ["hidden"]


def test_a_person_may_say_what_an_input_is(tmp_path):
    (tmp_path / "a.txt").write_bytes(LINES)
    asked = accordion("prepare", "a.txt", "--tokenizer", "bytes", "--out", "c", cwd=tmp_path)
    assert asked.returncode == 2 and "a.txt: ends in .txt and holds JSON lines; give --input-kind jsonl" in asked.stderr
    assert prepared("c", "a.txt", "--input-kind", "jsonl", cwd=tmp_path) == TEXTS
    assert prepared("c", "a.txt", "--input-kind", "text", cwd=tmp_path) == [LINES.decode()]


def tar():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"plain"))
    return packed.getvalue()


NO_TEXTS = {
    "ls": (open("/bin/ls", "rb").read(), "a program"),
    "a.tar": (tar(), "a tar archive"),
    "a.tar.gz": (gzip.compress(tar()), "a tar archive"),
    "a.tgz": (gzip.compress(tar()), "a tar archive"),
    "a.txt": ("text".encode("utf-16"), "UTF-16"),
    "b.txt.bz2": (bz2.compress("text".encode("utf-32-be")), "UTF-32BE"),
    "c.txt": (b"text\0text", "byte 5 is NUL"),
    "table": (b"PAR1\x15\x04", "reads no parquet"),
    "table.csv": (b"text,label\nx,1\n", "--input-kind text"),
    "list.json": (b"[1, 2]", "holds no JSON objects"),
    "cut.json": (b'[{"text": "a"},\n{"text": "b"', "cut.json:2: not valid JSON: the file ends within an object"),
    "cut.jsonl.zst": (b"\x28\xb5\x2f\xfd\x24", "damaged or cut off"),
    "cut.xz": (lzma.compress(LINES)[:-5], "damaged or cut off"),
    "garbage.gz": (gzip.compress(LINES) + b"garbage", "follows the compressed data"),
    "a.lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4"),
}


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_text_is_named(name, tmp_path):
    command = "tokenizer" if name == "ls" else "prepare"
    content, message = NO_TEXTS[name]
    (tmp_path / name).write_bytes(content)
    options = ["--tokenizer", "bytes"] if command == "prepare" else ["--vocab", "300"]
    failed = accordion(command, name, *options, "--out", "c", cwd=tmp_path)
    assert failed.returncode == 2
    assert message in failed.stderr and name in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "c").exists()


def test_latin_1_is_repaired_with_a_notice(tmp_path):
    (tmp_path / "a.txt").write_bytes(("caf\u00e9 na\u00efve " * 40).encode("latin-1"))
    made = accordion("prepare", "a.txt", "--tokenizer", "bytes", "--out", "c", cwd=tmp_path)
    assert made.returncode == 0
    assert "note: 80 places were not UTF-8" in made.stderr


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
    (["prepare", "empty.txt", "--tokenizer", "bytes", "--out", "c", "--input-kind", "json"], "--input-kind"),
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
