"""A tiny corpus, model and recipe for tests of the program, and how to run it."""

import json
import os
import random
import subprocess

ACCORDION = os.environ.get("ACCORDION", "build/accordion")

MODEL = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "vocab_size": 257, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "initializer_range": 0.02, "hidden_act": "silu", "architectures": ["LlamaForCausalLM"],
}

RECIPE = """\
model: {folder}/model.json
run: {folder}/run
data: {{train: {folder}/corpus, validation: {folder}/corpus}}
budget: {{steps: 30}}
batch: {{tokens: 512}}
length_schedule:
  progress: steps
  max_length: 128
  segments:
    - {{length: 32, until: 8}}
    - {{ramp: linear, from: 32, to: 128, until: 20, step: 16}}
    - {{length: 128, until: end}}
optimizer: {{lr: 3e-3}}
lr_schedule: {{kind: cosine, warmup: {{steps: 5}}}}
precision: f32
evaluation: {{every: {{steps: 10}}, tokens: 1024, lengths: [32, 128]}}
checkpoint: {{every: {{steps: 5}}, keep: 2}}
seed: 3
"""


def run(*arguments, check=True, timeout=300, **options):
    done = subprocess.run([ACCORDION, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **options)
    if check:
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def make(folder, recipe=RECIPE, model=MODEL, documents=40, words=120):
    """Writes corpus, model and recipe into a folder; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    vocabulary = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 7))) for _ in range(60)]
    with open(folder / "text.jsonl", "w") as file:
        for _ in range(documents):
            text = " ".join(rng.choice(vocabulary) for _ in range(rng.randint(words // 2, words)))
            file.write(json.dumps({"text": text}) + "\n")
    run("prepare", folder / "text.jsonl", "--tokenizer", "bytes", "--out", folder / "corpus", "--validation", "0.2")
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "recipe.yaml").write_text(recipe.format(folder=folder))
    return folder / "recipe.yaml"


def metrics(run_folder, kind="step"):
    """Records of metrics.jsonl of one type; every line must be whole JSON."""
    with open(run_folder / "metrics.jsonl") as file:
        records = [json.loads(line) for line in file]
    return [record for record in records if record["type"] == kind]


def what_must_repeat(run_folder):
    """Everything in metrics.jsonl that is no measurement of time or memory."""
    measured = {"seconds", "step_seconds", "tokens_per_second", "peak_bytes", "rss_bytes", "eval_seconds"}
    with open(run_folder / "metrics.jsonl") as file:
        records = [json.loads(line) for line in file]
    return [{k: v for k, v in record.items() if k not in measured} for record in records]
