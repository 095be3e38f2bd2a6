"""Whatever a path looks like and whatever stands there: what was good stays, and the answer is one line."""

import json
import os
import random
import shutil
import struct
import subprocess

import pytest

from e2e.faults import TINY
from e2e.tiny import ACCORDION, make, metrics
from e2e.tiny import run as run_with_threads

RECIPE = """\
model: {folder}/model.json
run: {folder}/run
data: {{train: {folder}/corpus, validation: {folder}/corpus}}
budget: {{steps: 2}}
batch: {{tokens: 64}}
length_schedule: {{segments: [{{length: 16, until: 0.5}}, {{length: 32}}]}}
precision: f32
evaluation: {{every: {{steps: 2}}, tokens: 64, lengths: [16]}}
checkpoint: {{every: {{steps: 1}}, keep: 2}}
"""


def run(*arguments, **options):
    return run_with_threads("--threads", 1, *arguments, **options)


def refused(done, *words):
    assert done.returncode == 2, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    make(folder, RECIPE, TINY)
    run("train", folder / "recipe.yaml")
    return folder


@pytest.fixture
def place(tmp_path):
    """A folder with a text, another one, and a corpus `mine` of the first."""
    (tmp_path / "a.txt").write_text("the first text " * 9)
    (tmp_path / "b.txt").write_text("another text " * 9)
    (tmp_path / "folder").mkdir()
    run("prepare", "a.txt", "--tokenizer", "bytes", "--out", "mine", cwd=tmp_path)
    return tmp_path


def text_of(corpus):
    return (corpus / "train.bin").read_bytes()[::2].decode("latin-1").rstrip("\0")


@pytest.mark.parametrize("out", ["mine/", "mine/.", "none/../mine/", "link/", "{}/mine/"])
def test_a_corpus_is_replaced_under_every_spelling_of_its_path(place, out):
    (place / "link").symlink_to("mine")
    run("prepare", "b.txt", "--tokenizer", "bytes", "--out", out.format(place), cwd=place)
    assert text_of(place / "mine") == "another text " * 9
    assert (place / "link").is_symlink()
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.txt", "folder", "link", "mine"]


@pytest.mark.parametrize("out", ["mine/", ".", "link/"])
def test_what_fails_leaves_the_corpus_under_every_spelling(place, out):
    (place / "link").symlink_to("mine")
    (place / "bad.jsonl").write_text('{"text": "good"}\n{"text": \n')
    before = {path.name: path.read_bytes() for path in (place / "mine").iterdir()}
    done = run("prepare", place / "bad.jsonl", "--tokenizer", "bytes", "--out", out, check=False,
               cwd=place / "mine" if out == "." else place)
    refused(done, "bad.jsonl:2")
    assert {path.name: path.read_bytes() for path in (place / "mine").iterdir()} == before
    assert (place / "link").is_symlink()


def test_the_current_folder(place):
    run("prepare", "../b.txt", "--tokenizer", "bytes", "--out", ".", cwd=place / "mine")
    assert text_of(place / "mine") == "another text " * 9
    run("prepare", "../b.txt", "--tokenizer", "bytes", "--out", ".", cwd=place / "folder")
    assert text_of(place / "folder") == "another text " * 9


@pytest.mark.parametrize("name", ["two\nlines", b"\xff\xfe -x", "mine.partial"])
def test_odd_names(place, name):
    out = os.fsencode(place) + b"/" + os.fsencode(name)
    for text in ("a.txt", "b.txt"):
        done = subprocess.run([ACCORDION, "prepare", text, "--tokenizer", "bytes", b"--out=" + out], cwd=place, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert json.load(open(out + b"/manifest.json"))["train"]["tokens"] == len("another text " * 9) + 1


def test_what_is_not_the_corpus_is_not_replaced(place):
    (place / "mine/notes.md").write_text("precious")
    refused(run("prepare", "b.txt", "--tokenizer", "bytes", "--out", "mine/", check=False, cwd=place), "notes.md", "no part of the corpus")
    assert (place / "mine/notes.md").read_text() == "precious" and text_of(place / "mine") == "the first text " * 9
    refused(run("tokenizer", "b.txt", "--vocab", 300, "--out", "mine", check=False, cwd=place), "other than a tokenizer")
    (place / "new.partial").mkdir()
    (place / "new.partial/notes.md").write_text("precious")
    refused(run("prepare", "b.txt", "--tokenizer", "bytes", "--out", "new", check=False, cwd=place), "new.partial: is in the way")
    assert (place / "new.partial/notes.md").read_text() == "precious" and not (place / "new").exists()


def test_a_tokenizer_is_replaced_under_every_spelling_of_its_path(place):
    rng = random.Random(1)
    text = " ".join("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 7))) for _ in range(2000))
    (place / "a.txt").write_text(text)
    (place / "link").symlink_to("spm")
    for out in ("spm", "spm/", "link", "folder/../spm"):
        run("tokenizer", "a.txt", "--vocab", 300, "--out", out, cwd=place)
        assert (place / "spm/tokenizer.model").exists() and (place / "link").is_symlink()
    before = (place / "spm/tokenizer.model").read_bytes()
    refused(run("tokenizer", "a.txt", "--vocab", "100k", "--out", "spm/", check=False, cwd=place), "smaller --vocab")
    assert (place / "spm/tokenizer.model").read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.txt", "folder", "link", "mine", "spm"]


def test_the_page_of_compare(tiny, tmp_path):
    runs = [tiny / "run", tmp_path / "other"]
    shutil.copytree(*runs, symlinks=True)
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "link.html").symlink_to("page.html")
    (tmp_path / "folder").mkdir()
    run("compare", *runs, "--html", tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink() and "<html" in (tmp_path / "page.html").read_text()[:200].lower()
    for wrong in ("folder", "folder/", "new/", "none/page.html"):
        refused(run("compare", *runs, "--html", f"{tmp_path}/{wrong}", check=False), wrong.rstrip("/"))
    done = run("compare", *runs, "--html", "/proc/self/fd/1")  # as /dev/stdout, which a failing test would replace
    assert "</html>" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link.html", "other", "page.html"]


@pytest.mark.parametrize("spelling", ["run/.", "link", ".", '"r u\nn"'])
def test_a_run_folder_under_every_spelling(tiny, tmp_path, spelling):
    home = tmp_path / "run" if spelling == "." else tmp_path
    home.mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to("run")
    command = [ACCORDION, "--threads", "1", "train", tiny / "recipe.yaml", b"run=" + os.fsencode(spelling).replace(b"\n", b"\\n")]
    folder = home / os.fsdecode(spelling).strip('"')
    for more, steps in ((["budget.steps=1"], [1]), (["budget.steps=2"], [1, 2]), (["--fresh", "budget.steps=1"], [1])):
        done = subprocess.run(command + more, capture_output=True, cwd=home)
        assert done.returncode == 0, done.stderr
        assert [step["step"] for step in metrics(folder)] == steps
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(folder / "checkpoints")) == ["latest", "step-1"]


def test_a_run_folder_in_none(tiny, tmp_path):
    refused(run("train", tiny / "recipe.yaml", "run=none/../run", check=False, cwd=tmp_path), "none/../run: cannot create the folder: No such")
    assert os.listdir(tmp_path) == []


def test_paths_that_are_not_utf8(tiny, tmp_path):
    """Everything that a path gets into: corpus, recipe, checkpoint, resumed run, JSON, pages."""
    root = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(root)
    shutil.copytree(os.fsencode(tiny / "corpus"), root + b"/corpus")
    recipe = os.fsencode(RECIPE.format(folder=tiny)).replace(os.fsencode(f"{tiny}/corpus"), root + b"/corpus")
    recipe = recipe.replace(os.fsencode(f"{tiny}/run"), root + b"/run").replace(b"precision:", b"memory: {timeline: '" + root + b"/t.html'}\nprecision:")
    recipe = recipe.replace(b"{length: 32}", b"{length: 32, source: '" + root + b"/corpus'}")
    with open(root + b"/recipe.yaml", "wb") as file:
        file.write(recipe)

    def go(*arguments):
        done = subprocess.run([ACCORDION, "--threads", "1", *arguments], capture_output=True)
        assert done.returncode == 0, (arguments, done.stderr)
        return done

    go("train", root + b"/recipe.yaml", "budget.steps=2")
    done = go("train", root + b"/recipe.yaml", "budget.steps=4")
    assert done.stderr.splitlines() == [b"warning: resuming with budget.steps: 2 -> 4"], done.stderr
    assert [step["step"] for step in metrics(tmp_path / os.fsdecode(b"\xff\xfe") / "run")] == [1, 2, 3, 4]
    go("train", root + b"/run/recipe.yaml")
    json.loads(go("plan", root + b"/recipe.yaml", "--json").stdout)
    json.loads(go("eval", root + b"/run", "--data", root + b"/corpus", "--lengths", "16", "--tokens", "64", "--json").stdout)
    json.loads(go("compare", root + b"/run", os.fsencode(tiny / "run"), "--json", "--html", root + b"/page.html").stdout)
    for page in (b"/page.html", b"/t.html"):
        open(root + page, encoding="utf-8").read()
    for name in ("config.json", "trainer/state.json"):
        json.load(open(root + b"/run/checkpoints/latest/" + name.encode(), encoding="utf-8"))


def test_a_timeline_that_cannot_be_written_is_known_at_once(tiny, tmp_path):
    for wrong in (f"{tmp_path}/", "/proc/t.html"):
        done = run("train", tiny / "recipe.yaml", f"run={tmp_path}/run", f"memory.timeline={wrong}", check=False)
        refused(done, "memory.timeline: ", wrong.rstrip("/"))
        assert not (tmp_path / "run").exists()


def test_offload_through_a_link(tiny, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far")
    for path in ("link", "link/new/"):
        run("train", tiny / "recipe.yaml", f"run={tmp_path}/run", "--fresh", "memory.offload.to=disk", f"memory.offload.path={tmp_path}/{path}",
            "memory.recompute=layer")
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "far") == ["new"]
    (tmp_path / "file").write_text("")
    done = run("train", tiny / "recipe.yaml", f"run={tmp_path}/other", "memory.offload.to=disk", f"memory.offload.path={tmp_path}/file",
               "memory.recompute=layer", check=False)
    refused(done, "memory.offload.path: ", "file")


LOOPS = [["prepare", "loop", "--tokenizer", "bytes", "--out", "c"], ["prepare", "b.txt", "--tokenizer", "loop", "--out", "c"],
         ["prepare", "b.txt", "--tokenizer", "bytes", "--out", "loop"], ["prepare", "b.txt", "--tokenizer", "bytes", "--out", "loop/c"],
         ["tokenizer", "b.txt", "--vocab", "300", "--out", "loop"], ["train", "loop"], ["plan", "loop"], ["train", "recipe.yaml", "run=loop"],
         ["train", "recipe.yaml", "run=new", "data.train=loop"], ["train", "recipe.yaml", "run=new", "model=loop"],
         ["train", "recipe.yaml", "run=new", "memory.timeline=loop"], ["eval", "loop", "--data", "corpus", "--lengths", "8"],
         ["eval", "model.json", "--data", "loop", "--lengths", "8"], ["score", "model.json", "--tokens", "loop"],
         ["generate", "loop", "--prompt", "a"], ["compare", "loop", "run"], ["compare", "run", "run2", "--html", "loop"],
         ["prepare", "texts", "--tokenizer", "bytes", "--out", "c"]]


@pytest.mark.parametrize("command", LOOPS, ids=" ".join)
def test_a_link_that_leads_to_itself(tiny, tmp_path, command):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/loop.txt").symlink_to("loop.txt")
    (tmp_path / "b.txt").write_text("text")
    for name in ("run", "corpus", "recipe.yaml", "model.json"):
        (tmp_path / name).symlink_to(tiny / name)
    (tmp_path / "run2").symlink_to(tiny / "corpus") if "run2" not in command else shutil.copytree(tiny / "run", tmp_path / "run2")
    refused(run(*command, check=False, cwd=tmp_path), "loop")
    assert not (tmp_path / "c").exists() and not (tmp_path / "new").exists()
    assert (tmp_path / "loop").is_symlink()


def bash(script, folder):
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, timeout=120, env=os.environ | {"A": ACCORDION})


def test_pipes_are_read(tiny, tmp_path):
    (tmp_path / "b.txt").write_text("another text " * 9)
    for script in ("$A prepare <(cat b.txt) --tokenizer bytes --out c", "cat b.txt | $A prepare /dev/stdin --tokenizer bytes --out c",
                   "mkfifo f; cat b.txt > f & $A prepare f --tokenizer bytes --out c"):
        done = bash(script, tmp_path)
        assert done.returncode == 0, done.stderr
        assert text_of(tmp_path / "c") == "another text " * 9
        shutil.rmtree(tmp_path / "c")
    done = bash(f"$A score {tiny}/run --tokens <(echo '[[1,2,3]]')", tmp_path)
    assert done.returncode == 0 and len(json.loads(done.stdout)[0]) == 3, done.stderr
    done = bash(f"$A train <(cat {tiny}/recipe.yaml) run=r budget.steps=1", tmp_path)
    assert done.returncode == 0, done.stderr
    refused(bash("$A train <(echo 'model: models/demo.json')", tmp_path), "run: must name the run folder")


@pytest.mark.parametrize("command, says", [
    ("prepare /dev/zero --tokenizer bytes --out c", "/dev/zero: is a device"),
    ("prepare b.txt --tokenizer <(cat b.txt) --out c", "no regular file"),
    ("prepare b.txt --tokenizer /dev/zero --out c", "no regular file"),
    ("train /dev/zero", "/dev/zero: is a device"),
    ("score {tiny}/run --tokens /dev/urandom", "/dev/urandom: is a device"),
    ("eval <(cat {tiny}/model.json) --data {tiny}/corpus --lengths 8", "neither a folder nor a regular file"),
    ("eval {tiny}/run --data /dev/null --lengths 8", "/dev/null"),
    ("compare {tiny}/run /dev/null", "/dev/null"),
    ("prepare b.txt --tokenizer bytes --out /dev/null", "/dev/null"),
    ("train {tiny}/recipe.yaml run=/dev/null", "/dev/null"),
])
def test_devices_are_refused(tiny, tmp_path, command, says):
    (tmp_path / "b.txt").write_text("text")
    refused(bash("$A " + command.format(tiny=tiny), tmp_path), says)
    assert not os.path.isfile("/dev/null")


def bare_corpus(prefix, ids):
    """A .bin and .idx without a manifest, as others write them."""
    prefix.with_suffix(".bin").write_bytes(struct.pack(f"<{len(ids)}i", *ids))
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 4, 1, 2) + struct.pack("<iq", len(ids), 0) + struct.pack("<qq", 0, 1)
    prefix.with_suffix(".idx").write_bytes(index)
    return prefix


@pytest.mark.parametrize("wrong, at", [(257, 0), (-1, 90), (70000, 1999)])
def test_ids_outside_the_vocabulary(tiny, tmp_path, wrong, at):
    ids = [i % 257 for i in range(2000)]
    good, bad = bare_corpus(tmp_path / "good", ids), bare_corpus(tmp_path / "bad", ids[:at] + [wrong] + ids[at + 1:])
    says = (f"bad: token {wrong} lies outside", "the model's vocabulary of 257")
    common = ["train", tiny / "recipe.yaml", f"run={tmp_path}/run", "data.shuffle=false", "budget.steps=40", "evaluation.every.steps=100",
              "checkpoint.every.steps=1"]
    refused(run(*common, f"data.train={bad}", f"data.validation={good}", check=False), *says)
    if at == 90:  # in the second step: the first is trained and kept
        assert len(metrics(tmp_path / "run")) == 1 and (tmp_path / "run/checkpoints/step-1").exists()
    if at < 100:
        refused(run(*common, "--fresh", f"data.train={good}", f"data.validation={bad}", "evaluation.tokens=128", check=False), *says[:1])
        refused(run("eval", tiny / "run", "--data", bad, "--lengths", "8,32", "--tokens", 128, check=False), *says[:1])
