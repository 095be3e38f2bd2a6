"""Every spelling of a config.json, and every way of keeping the weights, gives transformers' log-probabilities or is refused."""

import dataclasses
import json
import os
import pathlib
import subprocess
import types
import zlib

import pytest
import safetensors.torch
import torch
import transformers
from safetensors.torch import load_file, save_file

from e2e.tiny import run
from reference.spellings import DEFAULT, ROWS, SIZES, VOCABULARY

TOLERANCE = 2e-5
TOKENS = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(1)).tolist()
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def build(family, config):
    """transformers' model of a config.json, every weight drawn by its name and away from where it would not matter."""
    config = transformers.AutoConfig.for_model(family, **json.loads(json.dumps(config)))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise = torch.empty(parameter.shape).normal_(0, 0.15, generator=generator)
            parameter.copy_(noise + 1 if parameter.dim() == 1 and parameter.mean() > 0.5 else noise)
    return model


def log_probabilities(model):
    with torch.no_grad():
        logits = torch.log_softmax(model(torch.tensor([TOKENS])).logits[0].float(), -1)
    return [logits[t - 1, TOKENS[t]].item() for t in range(1, len(TOKENS))]


def score_all(folders):
    """For each folder its log-probabilities or error, and the notices about it."""
    root = next(iter(folders.values())).parent
    (root / "tokens.json").write_text(json.dumps(TOKENS))
    done = subprocess.run([os.environ["SCORE_MANY"], root / "tokens.json", *folders.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)

    def of(folder):
        notices = [line for line in done.stderr.splitlines() if f" {folder}/" in line]
        return types.SimpleNamespace(**{"scores": None, "error": None} | results[str(folder)], notices=notices)

    return {key: of(folder) for key, folder in folders.items()}


def check_parity(done, expected):
    assert done.error is None
    assert max(abs(a - b) for a, b in zip(done.scores, expected, strict=True)) <= TOLERANCE


def check_refusal(done, words):
    assert done.scores is None and words in done.error and "\n" not in done.error, done.error


def save_pretrained(model, folder):
    model.generation_config.pad_token_id = None  # a negative one is refused there
    model.save_pretrained(folder)


def make(folder, family, config, expected, save=save_pretrained):
    """The folder that a row describes, and the log-probabilities or the words to expect of it."""
    folder.mkdir()
    if isinstance(expected, str):
        (folder / "model.safetensors").touch()
    else:
        model = build(family, config if expected is None else expected)
        save(model, folder)
        expected = log_probabilities(model)
    (folder / "config.json").write_text(json.dumps({"model_type": family} | config))
    return expected


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    root = tmp_path_factory.mktemp("table")
    folders = {key: root / str(number) for number, key in enumerate(ROWS)}
    expected = {key: make(folders[key], key[0], *ROWS[key]) for key in ROWS}
    return score_all(folders), expected


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_spelling(key, table):
    done, expected = table[0][key], table[1][key]
    if isinstance(expected, str):
        check_refusal(done, expected)
        return
    check_parity(done, expected)
    notices = {"unknown key": "gate_of_a_later_version", "n_ctx aside": "n_ctx", "member without meaning": "beta_fast",
               "dropout": "attention_dropout", "cut products": "pretraining_tp"}
    if key[1] in notices:
        assert len(done.notices) == 1 and notices[key[1]] in done.notices[0]
    elif key != ("gpt2", "as 4.44 writes it"):  # that has dropout
        assert done.notices == []


def test_what_the_installed_version_writes(tmp_path):
    folders = {family: tmp_path / family for family in SIZES}
    models = {}
    for family, folder in folders.items():
        rotary = {} if family in ("gpt2", "mpt") else dict(rope_parameters=dict(DEFAULT))
        models[family] = build(family, SIZES[family] | rotary)
        models[family].save_pretrained(folder)
    for family, done in score_all(folders).items():
        check_parity(done, log_probabilities(models[family]))
        assert all("is taken as 0, like every dropout" in notice for notice in done.notices), done.notices


def changed(value):
    """Another value of a setting's own kind; None where there is no telling."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 2 + (0.25 if isinstance(value, float) else 1)
    return None


def test_every_setting_that_moves_transformers_moves_us_or_is_refused(tmp_path):
    """Each field of the installed version's configurations in turn, those of versions to come among them."""
    folders, expected = {}, {}
    for family, sizes in SIZES.items():
        before = log_probabilities(build(family, sizes))
        for field in dataclasses.fields(transformers.AutoConfig.for_model(family)):
            value = changed(sizes.get(field.name, field.default))
            if value is None or field.name in ("vocab_size", "initializer_range") or field.name.endswith("_token_id"):
                continue
            config = sizes | {field.name: value}
            try:
                model = build(family, config)
                after = log_probabilities(model)
            except Exception:  # transformers itself refuses the value
                continue
            if after != before:
                key = family, field.name
                folders[key] = tmp_path / "-".join(key)
                expected[key] = make(folders[key], family, config, None)
    assert len(folders) > 40
    for key, done in score_all(folders).items():
        if done.error:
            check_refusal(done, key[1])
        else:
            check_parity(done, expected[key])


UNTIED = dict(tie_word_embeddings=False)
TIED = dict(tie_word_embeddings=True)
EMBEDDING = {"gpt2": "transformer.wte.weight", "gpt_neox": "gpt_neox.embed_in.weight", "mpt": "transformer.wte.weight"}


def embedding(family):
    return EMBEDDING.get(family, "model.embed_tokens.weight")


def save_shared(model, folder):
    """safetensors' own way with tensors that share memory: one name stays, its metadata says which others it stands for."""
    safetensors.torch.save_model(model, folder / "model.safetensors")


def rewrite(change):
    """What save_pretrained writes, with the tensors changed by a function of (tensors, embedding's name)."""
    def save(model, folder):
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        metadata = change(tensors, embedding(model.config.model_type))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"} | (metadata or {}))
    return save


def head_alone(tensors, name):
    tensors["lm_head.weight"] = tensors.pop(name)


def older_head(tensors, name):
    tensors["embed_out.weight"] = tensors.pop(name)


def both(tensors, name):
    tensors["lm_head.weight"] = tensors[name].clone()


def both_differing(tensors, name):
    tensors["lm_head.weight"] = tensors[name] + 1e-3


def surplus(tensors, name):
    tensors[name.replace("weight", "scale")] = torch.ones(3)


def cut(tensors, folder, metadata):
    """Two files and their index."""
    names = sorted(tensors)
    files = [f"model-{number + 1:05}-of-00002.safetensors" for number in range(2)]
    for number, file in enumerate(files):
        save_file({name: tensors[name] for name in names[number::2]}, folder / file, metadata=metadata)
    index = dict(metadata={}, weight_map={name: files[number % 2] for number, name in enumerate(names)})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def shared_in_shards(model, folder):
    save_shared(model, folder)
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    cut(tensors, folder, metadata)


def bare(model, folder):
    model.base_model.save_pretrained(folder)


def bare_shared(model, folder):
    safetensors.torch.save_model(model.base_model, folder / "model.safetensors")


WEIGHTS = {(family, name): (SIZES[family] | TIED, save) for family in SIZES for name, save in
           {"save_model": save_shared, "save_model in shards": shared_in_shards, "head alone": rewrite(head_alone),
            "both names": rewrite(both), "bare": bare}.items()}
WEIGHTS |= {(family, "save_model of an untied head"): (SIZES[family] | UNTIED, save_shared) for family in ("llama", "gpt_neox", "mpt")}
WEIGHTS[("gpt_neox", "older name of a tied head")] = (SIZES["gpt_neox"] | TIED, rewrite(older_head))
WEIGHTS[("llama", "bare by save_model")] = (SIZES["llama"] | TIED, bare_shared)
REFUSED = {(family, "differing names"): (SIZES[family] | TIED, rewrite(both_differing), "lm_head.weight") for family in SIZES}
REFUSED |= {(family, "surplus"): (SIZES[family], rewrite(surplus), embedding(family).replace("weight", "scale")) for family in SIZES}
REFUSED[("llama", "bare without a head")] = (SIZES["llama"] | UNTIED, bare, "tensor lm_head.weight is missing")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    rows = WEIGHTS | REFUSED
    folders = {key: root / str(number) for number, key in enumerate(rows)}
    expected = {key: make(folders[key], key[0], settings[0], None, settings[1]) for key, settings in rows.items()}
    return score_all(folders), expected, folders


@pytest.mark.parametrize("key", WEIGHTS, ids=" ".join)
def test_weights(key, weights):
    check_parity(weights[0][key], weights[1][key])
    assert weights[0][key].notices == []
    if key[1] in ("save_model", "head alone") and key[0] != "gpt_neox":
        with safetensors.safe_open(pathlib.Path(weights[2][key]) / "model.safetensors", "pt") as file:
            assert embedding(key[0]) not in file.keys()  # else the row would show nothing


def test_the_command_refuses_in_one_line(weights):
    key = "llama", "differing names"
    folder = weights[2][key]
    (folder / "sequences.json").write_text(json.dumps([TOKENS]))
    done = run("score", folder, "--tokens", folder / "sequences.json", check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr == f"error: {weights[0][key].error}\n"


@pytest.mark.parametrize("key", REFUSED, ids=" ".join)
def test_weights_that_do_not_fit(key, weights):
    check_refusal(weights[0][key], REFUSED[key][2])
