#!/usr/bin/env python3
"""Where a step's time goes on a GPU, by kinds of kernels, ours beside Hugging Face's: bench/results/gpu-profile-MODEL.json.

    python bench/gpu_profile.py build/accordion --model llama-2-7b --layers 4 --lengths 8192,65536

One row in bf16, the programs and methods of bench/gpu_fold.py. `least` is what matrix products and attention would take at the rate
that --peak says, recomputation counted; `idle` is time in which no kernel ran. The file holds every kernel.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import gpu_fold
import results

KINDS = {  # of kernels, by the first pattern that a name matches
    "attention": r"flash|fmha|sdpa|attn",
    "products": r"nvjet|gemm|xmma|cutlass|splitK|cublas",
    "AdamW": r"adam",
    "norms": r"rms_?norm|layer_?norm|RMSNorm|LayerNorm|GammaBeta|GradInput",
    "loss": r"softmax|nll_loss|SoftMax",
    "copies": r"memcpy|memset|copy|CatArray",
    "element-wise": r"elementwise|fill",
    "reductions": r"reduce|norm_",
}
METHODS = {"Hugging Face": ["none", "checkpointing"], "Accordion": ["none", "recompute", "all"]}
AGAIN = {"checkpointing", "recompute", "all"}  # layers are computed twice


def kind(name):
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def least(config, length, method, peak):
    """Seconds of matrix products and causal attention at `peak` operations a second."""
    layers, width, inner = config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]
    heads, groups = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    layer = width * width * (2 + 2 * groups / heads) + 3 * width * inner
    again = method in AGAIN
    products = 2 * length * (layers * layer * (4 if again else 3) + 3 * width * config["vocab_size"])
    attention = 2 * length * length * width * layers * ((2 if again else 1) + 2.5)  # the backward pass has five products, not two
    return (products + attention) / peak


def measure(arguments, path, program, method, length):
    shape = ["--length", length, "--rows", 1, "--precision", "bf16", "--steps", arguments.steps, "--profile"]
    command = ([arguments.accordion.absolute(), "--device", "cuda", "bench", "step", path, *shape, "--json", *gpu_fold.OURS[method]]
               if program == "Accordion" else
               [sys.executable, "bench/peers/hf_step.py", path, *shape, "--device", "cuda", *gpu_fold.THEIRS[method]])
    done = subprocess.run(list(map(str, command)), cwd=results.ROOT, capture_output=True, text=True, timeout=arguments.limit)
    if done.returncode == 0:
        return json.loads(done.stdout)
    return {"stopped": "does not fit" if "out of memory" in done.stderr else (done.stderr.strip().splitlines() or ["?"])[-1]}


def row(program, method, length, found, limit):
    head = [f"{length:,}", program, method]
    if "stopped" in found:
        return [*head, found["stopped"]] + ["-"] * (len(KINDS) + 4)
    profile = found["profile"]
    spent = dict.fromkeys([*KINDS, "other"], 0.0)
    for one in profile["operators"]:
        spent[kind(one["name"])] += one["seconds"]
    step = found["step_seconds"]["median"]
    milliseconds = [step, limit, *spent.values(), max(0.0, step - profile["busy"])]
    return [*head, *(f"{1e3 * seconds:,.1f}" for seconds in milliseconds), str(profile["waits"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--model", default="llama-2-7b")
    parser.add_argument("--layers", type=int, help="of the model, instead of its own")
    parser.add_argument("--lengths", default="8192,65536")
    parser.add_argument("--peak", type=float, default=790e12, help="bf16 operations a second that the GPU reaches in matrix products")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one that warms up")
    parser.add_argument("--limit", type=float, default=300, help="seconds of a process")
    parser.add_argument("--commit", help="that the program was built from, where this is no git repository")
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    device = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], check=True, capture_output=True, text=True)
    about = {"machine": device.stdout.splitlines()[0].strip(), "commit": arguments.commit or results.commit()}
    columns = ["length", "program", "method", "step, ms", "least, ms", *KINDS, "other", "idle", "waits"]
    rows, measured = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = gpu_fold.config_of(arguments, pathlib.Path(folder))
        config = json.loads(path.read_text())
        for length in map(int, arguments.lengths.split(",")):
            for program, methods in METHODS.items():
                for method in methods:
                    found = measure(arguments, path, program, method, length)
                    rows.append(row(program, method, length, found, least(config, length, method, arguments.peak)))
                    measured.append({"length": length, "program": program, "method": method, **found})
                    print(" | ".join(rows[-1]), flush=True)
                    results.write(f"gpu-profile-{arguments.model}", results.typed(), columns, rows, folder=arguments.results,
                                  layers=arguments.layers, measured=measured, **about)


main()
