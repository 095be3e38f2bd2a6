#!/usr/bin/env python3
"""Time and memory of an MLP and of an LM head with its loss, by length and number of mini-sequences: bench/results/op-mlp.json and
op-head.json, in the shape of the appendix's tables in Luo et al. 2024.

    python bench/op_chunks.py build/accordion --width 1024 --inner 3584 --vocabulary 32064

A cell is the seconds of a forward and a backward pass, and the most bytes that tensors took meanwhile beside what was there before.
M is the number of mini-sequences; plain is one, by plain operators. A dash is what does not fit into memory.
"""

import argparse
import pathlib

import results


def cell(found):
    if found is None or found.get("seconds") is None:
        return "-"
    return f"{found['seconds']:.2f} s, {found['peak_bytes'] / 2**20:,.0f} MiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--lengths", default="1024,2048,4096,8192,20000,40000,80000")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--inner", type=int, default=3584)
    parser.add_argument("--vocabulary", type=int, default=32064)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the files go")
    arguments = parser.parse_args()

    sizes = {key: getattr(arguments, key) for key in ("width", "inner", "vocabulary", "repeats", "precision", "threads", "lengths")}
    for name in ("mlp", "head"):
        found = results.run(arguments.accordion.absolute(), "bench", "op", name, "--json",
                            *(word for key, value in sizes.items() for word in (f"--{key}", value)))["operators"]
        by_place = {(one["length"], one["way"]): one for one in found}
        ways = list(dict.fromkeys(one["way"] for one in found))
        rows = [[f"{length:,}", *(cell(by_place.get((length, way))) for way in ways)]
                for length in dict.fromkeys(one["length"] for one in found)]
        results.write(f"op-{name}", results.typed(), ["tokens", *ways], rows, folder=arguments.results, **sizes, measured=found)


main()
