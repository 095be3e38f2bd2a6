#!/usr/bin/env python3
"""The longest rows that the planner states for one 80 GB GPU, beside the published ones: bench/results/reach-a100.json.

    python bench/reach.py build/accordion

Nothing is run. The published lengths are tables 2 and 3 of Luo et al. 2024 (arXiv 2407.15892): one A100, weights, gradients and
both of Adam's moments in bf16 (6 bytes a parameter, as the gradients go within the backward pass), one row. Of 80 GB, 79.15 GiB are
usable; 2.6 GiB are taken off for the driver's context and the allocator's gaps.
"""

import argparse
import pathlib

import results

MEMORY = "76.55GiB"
PUBLISHED = {  # none, recomputation, mini-sequences; thousands of tokens
    "llama-3-8b": (5, 14, 60),
    "llama-2-7b": (7, 45, 84),
    "mistral-7b": (5, 42, 70),
    "qwen2-7b": (4, 13, 74),
    "gemma-2-9b": (1.5, 5, 36),
}
KEYS = ["precision=bf16", "memory.optimizer_in_backward=true", "optimizer.clip=0", "memory.recompute=layer"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    def longest(model, *keys):
        plan = results.run(arguments.accordion.absolute(), "plan", "recipes/fixed.yaml", f"model=models/{model}.json", "--json",
                           "--memory", MEMORY, "--bytes-per-parameter", 6, *KEYS, *keys)
        return plan["longest"], plan["longest_by_method"]

    rows = []
    for model, published in PUBLISHED.items():
        _, own = longest(model)
        away, _ = longest(model, "memory.offload=host", "memory.mini_sequence={mlp: auto, attention: auto}")
        rows.append([model, *(f"{length:g}K" for length in published),
                     *(f"{length / 1000:.1f}K" for length in (*(own[name] for name in ("none", "recompute", "mini_sequence", "all")), away))])
        print(" | ".join(rows[-1]), flush=True)
    columns = ["model", "published: none", "recomputation", "mini-sequences", "planned: none", "recompute", "mini_sequence", "all",
               "all, layer inputs in host memory"]
    results.write("reach-a100", "./dev bench-memory", columns, rows, folder=arguments.results)


main()
