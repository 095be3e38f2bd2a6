#!/usr/bin/env python3
"""Times an optimizer step of Accordion and of a plain Hugging Face loop by turns, in the same minutes, at several lengths:
bench/results/step-MODEL.json. Usage: step.py ACCORDION [--model NAME] [--tokens N] [--lengths A,B,...] [--precisions f32,bf16]"""

import argparse
import pathlib
import sys
import time

import torch

import results


def matrix_rate(precision, threads, size=2048, repeats=5):
    """Floating-point operations a second of a matrix product by the faster of libtorch's two libraries: what the machine can give."""
    torch.set_num_threads(threads)
    a, b = (torch.randn(size, size, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[precision]) for _ in "ab")
    best = 0.0
    for product in (lambda: a @ b, lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")):
        for _ in range(repeats + 1):
            begin = time.perf_counter()
            product()
            best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--model", default="pythia-70m")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--lengths", default="128,256,512,1024,2048,4096,8192")
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()

    rows, measured = [], []
    for precision in arguments.precisions.split(","):
        for length in map(int, arguments.lengths.split(",")):
            shape = ["--length", length, "--rows", max(1, arguments.tokens // length), "--precision", precision,
                     "--threads", arguments.threads, "--steps", arguments.steps]
            model = f"models/{arguments.model}.json"
            ours = results.run(arguments.accordion.absolute(), "bench", "step", model, *shape, "--json")
            theirs = results.run(sys.executable, "bench/peers/hf_step.py", model, *shape)
            rate = matrix_rate(precision, arguments.threads)
            measured.append({"accordion": ours, "hugging_face": theirs, "matrix_rate": rate})
            rows.append([precision, f"{length:,}", f"{ours['tokens_per_second']:,.0f}", f"{theirs['tokens_per_second']:,.0f}",
                         f"{ours['tokens_per_second'] / theirs['tokens_per_second']:.2f}",
                         f"{100 * ours['model_flops_per_second'] / rate:.0f} %",
                         f"{ours['peak_rss_bytes'] / 2**30:.1f}", f"{theirs['peak_rss_bytes'] / 2**30:.1f}"])
            print(" | ".join(rows[-1]), flush=True)
    columns = ["precision", "length", "Accordion tokens/s", "Hugging Face tokens/s", "ratio", "share of the matrix rate",
               "Accordion GiB", "Hugging Face GiB"]
    results.write(f"step-{arguments.model}", "./dev bench", columns, rows, measured=measured)


main()
