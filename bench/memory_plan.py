#!/usr/bin/env python3
"""What `plan` says a step holds beside what the step held: bench/results/memory-plan.json.

    python bench/memory_plan.py build/accordion

Each point is a model, a shape and a set of memory techniques. `accordion plan` states the peak of tensors; `accordion bench step`
measures it, with the resident memory of its process.
"""

import argparse
import pathlib
import statistics

import results

HEAD_OFF = ["memory.mini_sequence.head=off"]
LAYER = ["memory.recompute=layer"]
FOLDED = [*LAYER, "memory.mini_sequence.mlp=auto"]
ALL = [*FOLDED, "memory.mini_sequence.attention=auto"]
IN_BACKWARD = ["memory.optimizer_in_backward=true", "optimizer.clip=0"]
DISK = ["memory.offload={to: disk, path: runs/offload}"]

# model, precision, length, rows, name of the techniques, their keys
POINTS = [
    ("llama-3-proportions", "bf16", 1024, 1, "none", HEAD_OFF),
    ("llama-3-proportions", "bf16", 2048, 1, "recompute", [*LAYER, *HEAD_OFF]),
    ("llama-3-proportions", "bf16", 1024, 4, "mini_sequence", FOLDED),
    ("llama-3-proportions", "bf16", 8192, 1, "all", ALL),
    ("llama-3-proportions", "bf16", 4096, 1, "all, attention kept", [*ALL, "memory.keep_attention=true"]),
    ("llama-3-proportions", "bf16", 4096, 1, "all, inputs on disk", [*ALL, *DISK]),
    ("llama-3-proportions", "bf16", 4096, 1, "all, optimizer in backward", [*ALL, *IN_BACKWARD]),
    ("llama-3-proportions", "f32", 2048, 1, "head by chunks", []),
    ("gemma-2-proportions", "bf16", 1024, 1, "none", HEAD_OFF),
    ("gemma-2-proportions", "bf16", 2048, 2, "recompute", LAYER),
    ("gemma-2-proportions", "bf16", 8192, 1, "mini_sequence", FOLDED),
    ("gemma-2-proportions", "bf16", 16384, 1, "all", ALL),
    ("gemma-2-proportions", "f32", 4096, 1, "every second layer again", [*LAYER, "memory.recompute_every=2"]),
    ("mistral-tiny", "f32", 32768, 1, "all, inputs on disk", [*ALL, *DISK]),
    ("pythia-160m", "f32", 2048, 1, "recompute", LAYER),
    ("pythia-160m", "bf16", 4096, 1, "all", ALL),
    ("gpt2-124m", "f32", 1024, 2, "mlp by chunks", ["memory.mini_sequence.mlp=auto"]),
    ("gpt2-124m", "bf16", 1024, 1, "attention again", ["memory.recompute=attention"]),
    ("gpt3-125m-alibi", "f32", 2048, 1, "mlp again", ["memory.recompute=mlp"]),
    ("pythia-410m", "f32", 1024, 1, "mini_sequence", FOLDED),
    ("pythia-410m", "bf16", 1024, 1, "optimizer in backward", [*FOLDED, *IN_BACKWARD]),
]


def point(accordion, threads, model, precision, length, rows, keys):
    """Bytes: planned, measured, resident."""
    shared = [f"precision={precision}", f"batch.microbatch={rows}", *keys]
    plan = results.run(accordion, "plan", "recipes/fixed.yaml", "--json", "--threads", threads, f"model=models/{model}.json",
                       f"length_schedule={{length: {length}}}", f"evaluation.lengths=[{length}]",
                       f"batch={{sequences: {rows}, policy: constant_sequences}}", *shared)
    step = results.run(accordion, "bench", "step", f"models/{model}.json", "--length", length, "--rows", rows, "--steps", 1, "--json",
                       "--threads", threads, "--precision", precision, *shared[1:])
    return plan["memory"]["peak"], step["peak_bytes"], step["peak_rss_bytes"]


def summary(errors, shares):
    """The last two rows of the table."""
    sizes = [abs(error) for error in errors]
    return [[name, "", "", "", "", "", f"{100 * of(sizes):.1f} %", "", f"{100 * share:.0f} %"]
            for name, of, share in (("median", statistics.median, statistics.median(shares)), ("worst", max, min(shares)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    columns = ["model", "precision", "length x rows", "techniques", "planned, MiB", "measured, MiB", "error", "resident, MiB",
               "tensors of resident"]
    rows, errors, shares = [], [], []
    for model, precision, length, count, name, keys in POINTS:
        planned, measured, resident = point(arguments.accordion.absolute(), arguments.threads, model, precision, length, count, keys)
        errors.append(planned / measured - 1)
        shares.append(measured / resident)
        rows.append([model, precision, f"{length:,} x {count}", name, f"{planned / 2**20:,.0f}", f"{measured / 2**20:,.0f}",
                     f"{100 * errors[-1]:+.1f} %", f"{resident / 2**20:,.0f}", f"{100 * shares[-1]:.0f} %"])
        print(" | ".join(rows[-1]), flush=True)
        results.write("memory-plan", results.typed(), columns, [*rows, *summary(errors, shares)], folder=arguments.results,
                      errors=errors, shares=shares)


main()
