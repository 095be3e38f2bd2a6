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
    gpu_fold.options(parser)
    parser.add_argument("--peak", type=float, default=790e12, help="bf16 operations a second that the GPU reaches in matrix products")
    arguments = parser.parse_args()

    columns = ["length", "program", "method", "step, ms", "least, ms", *KINDS, "other", "idle", "waits"]
    rows, measured = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = gpu_fold.config_of(arguments, pathlib.Path(folder))
        config = json.loads(path.read_text())
        for length in map(int, arguments.lengths.split(",")):
            for program, methods in METHODS.items():
                for method in methods:
                    found = gpu_fold.measure(arguments, path, program, method, length, "--profile")
                    rows.append(row(program, method, length, found, least(config, length, method, arguments.peak)))
                    measured.append({"length": length, "program": program, "method": method, **found})
                    print(" | ".join(rows[-1]), flush=True)
                    results.write(f"gpu-profile-{arguments.model}", results.typed(), columns, rows, folder=arguments.results,
                                  layers=arguments.layers, measured=measured, **gpu_fold.about(arguments))


main()
