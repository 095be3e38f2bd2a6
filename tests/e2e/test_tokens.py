"""Which tokens begin and end texts: what `prepare` says, what a trained model's files say, and what `generate` does with it."""

import json
import shutil

import pytest

from e2e.tiny import MODEL, metrics, run

SENTENCE = "once upon a time there was a caf\u00e9. "
RECIPE = """\
model: {folder}/model.json
run: {folder}/run
data: {{train: {folder}/corpus}}
budget: {{steps: 120}}
batch: {{tokens: 512}}
length_schedule: {{length: 64}}
optimizer: {{lr: 1e-2}}
lr_schedule: {{warmup: {{steps: 5}}}}
precision: f32
evaluation: {{tokens: 64}}
checkpoint: {{every: {{steps: 60}}}}
"""
ELSEWHERE = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # as a preset names them


def ids_of(folder):
    return [json.loads((folder / name).read_text()) for name in ("config.json", "generation_config.json")]


def trained(folder, tokenizer, model=None):
    folder.mkdir(exist_ok=True)
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": SENTENCE}) + "\n" for _ in range(180)))
    if tokenizer == "spm":
        # Without the letter e with its accent, which becomes two bytes.
        (folder / "plain.txt").write_text("\n".join([SENTENCE.replace("\u00e9", "e")] * 200))
        run("tokenizer", folder / "plain.txt", "--vocab", 300, "--out", folder / "spm")
        tokenizer = folder / "spm"
    run("prepare", folder / "text.jsonl", "--tokenizer", tokenizer, "--out", folder / "corpus", "--validation", "0.1")
    (folder / "model.json").write_text(json.dumps({**MODEL, "vocab_size": 512, **ELSEWHERE, **(model or {})}))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    run("train", folder / "recipe.yaml")
    return folder / "run"


@pytest.fixture(scope="module")
def bytes_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bytes"), "bytes")


@pytest.fixture(scope="module")
def spm_run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("spm"), "spm")


def test_a_model_names_the_tokens_of_its_corpus(bytes_run, spm_run):
    for folder in [bytes_run / "final", bytes_run / "checkpoints/step-60"]:
        for config in ids_of(folder):
            assert (config["eos_token_id"], config["bos_token_id"], config.get("pad_token_id")) == (256, None, None)
    for folder in [spm_run / "final", spm_run / "checkpoints/step-120"]:
        for config in ids_of(folder):
            assert (config["eos_token_id"], config["bos_token_id"], config.get("pad_token_id")) == (2, 1, None)
        names = {path.name for path in folder.iterdir()}
        assert {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"} <= names


def test_training_goes_on_from_what_it_wrote(bytes_run):
    run("train", bytes_run.parent / "recipe.yaml", "budget.steps=122")
    assert len(metrics(bytes_run)) == 122
    assert ids_of(bytes_run / "final")[0]["eos_token_id"] == 256


def test_a_list_of_ends_that_holds_the_corpus_own_stays(bytes_run, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(bytes_run / "final", model)
    for name, ends in [("config.json", [256, 300]), ("generation_config.json", [300, 256, 301])]:
        config = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**config, "eos_token_id": ends, "pad_token_id": 300, "top_p": 0.5}))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=bytes_run.parent))
    run("train", tmp_path / "recipe.yaml", f"model={model}", f"run={tmp_path}/run", "budget.steps=1")
    config, generation = ids_of(tmp_path / "run/final")
    assert config["eos_token_id"] == [256, 300] and generation["eos_token_id"] == [300, 256, 301]
    assert generation["top_p"] == 0.5
    assert config["pad_token_id"] == 300  # its row belongs to the weights that are there


def generate(model, prompt, *options):
    done = run("generate", model, "--prompt", prompt, "--temperature", 0, "--max-tokens", 200, *options)
    return done.stdout, done.stderr


def test_text_goes_on_with_its_spaces_and_ends(spm_run, bytes_run):
    for folder in [spm_run, bytes_run / "final"]:
        for prompt in ["once upon", "once", "once upon a time there was a caf"]:  # the last goes on within a character
            assert generate(folder, prompt)[0] == SENTENCE + "\n"


def test_says_what_goes_before_a_prompt_where_that_matters(spm_run, bytes_run, tmp_path):
    assert generate(bytes_run, "once")[1] == ""
    text, said = generate(spm_run, "once")
    assert said == "notice: no <s> (1) before the prompt: tokenizer_config.json says add_bos_token: false\n"
    shutil.copytree(spm_run / "final", tmp_path / "model")
    config = json.loads((tmp_path / "model/tokenizer_config.json").read_text())
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": True}))
    assert generate(tmp_path / "model", "once")[1].startswith("notice: <s> (1) before the prompt: ")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_of_a_list_of_ends_stops(bytes_run, tmp_path, name, position):
    shutil.copytree(bytes_run / "final", tmp_path / "model")
    config = json.loads((tmp_path / "model" / name).read_text())
    ends = [400, 401, 402]
    ends[position] = ord("t")
    (tmp_path / "model" / name).write_text(json.dumps({**config, "eos_token_id": ends}))
    assert generate(tmp_path / "model", "once upon")[0] == "once upon a \n"


def gemma_like():
    """A tokenizer in which `</s>` and `<s>` are ordinary entries, as in Gemma's own: tags of HTML."""
    vocabulary = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")}
    for token in ["\u0120", "</s>", "<s>"]:
        vocabulary[token] = len(vocabulary)
    special = [{"id": len(vocabulary) + i, "content": content, "special": True, "normalized": False} for i, content in enumerate(["<pad>", "<eos>", "<bos>"])]
    return {"added_tokens": special, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}


def prepared(folder, *options, **files):
    (folder / "tokenizer.json").write_text(json.dumps(gemma_like()))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "a.txt").write_text("some words")
    done = run("prepare", folder / "a.txt", "--tokenizer", folder / "tokenizer.json", "--out", folder / "corpus", *options)
    return done, json.loads((folder / "corpus/manifest.json").read_text())


def test_prepare_says_which_token_ends_documents(tmp_path):
    done, manifest = prepared(tmp_path)
    assert "documents end with <eos> (30), from tokenizer.json\n" in done.stdout and done.stderr == ""
    assert (manifest["end_of_text"], manifest["end_of_text_token"], manifest["end_of_text_from"]) == (30, "<eos>", "tokenizer.json")
    assert manifest["begin_of_text"] is None
    done, manifest = prepared(tmp_path, generation_config={"eos_token_id": [31, 30]}, config={"eos_token_id": 2})
    assert "documents end with <bos> (31), from generation_config.json\n" in done.stdout
    assert done.stderr == ("notice: config.json names 2 as eos_token_id, which is no special token of the tokenizer\n"
                           "notice: generation_config.json has a list, whose first is taken\n")
    done, manifest = prepared(tmp_path, "--eos", "</s>", "--json")
    assert manifest["end_of_text"] == 27 and "--eos" in json.loads(done.stdout)["end_of_text"]
    again = run("prepare", tmp_path / "a.txt", "--tokenizer", tmp_path / "corpus", "--out", tmp_path / "again")
    assert "documents end with </s> (27), from manifest.json\n" in again.stdout


def test_prepare_refuses_where_nothing_says_which(tmp_path):
    description = gemma_like()
    description["added_tokens"][1]["content"] = "<other>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    (tmp_path / "a.txt").write_text("some words")
    for options, says in [([], "--eos"), (["--eos", "<none>"], "--eos <none>"), (["--eos", "32"], "--eos 32")]:
        done = run("prepare", tmp_path / "a.txt", "--tokenizer", tmp_path / "tokenizer.json", "--out", tmp_path / "corpus", *options, check=False)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "corpus").exists()
    run("prepare", tmp_path / "a.txt", "--tokenizer", tmp_path / "tokenizer.json", "--out", tmp_path / "corpus", "--eos", "<other>")
