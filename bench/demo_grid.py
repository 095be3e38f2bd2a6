#!/usr/bin/env python3
"""Trains the demo's constant run at each peak learning rate of a fixed grid and evaluates it on the whole validation split:
bench/results/demo-grid.json. Both recipes of the demo take the best of them. Runs that are there are not repeated.
Usage: demo_grid.py ACCORDION [--threads N]"""

import argparse
import json
import subprocess

import results

RATES = ["5e-4", "1e-3", "2e-3", "4e-3"]
LENGTHS = [512, 1024, 2048, 4096]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accordion")
    parser.add_argument("--threads", default="2")
    arguments = parser.parse_args()

    def accordion(*words):
        return subprocess.run([arguments.accordion, *words, "--threads", arguments.threads], cwd=results.ROOT, check=True,
                              capture_output=True, text=True).stdout

    rows, evaluated = [], {}
    for rate in RATES:
        run = f"runs/grid/constant-{rate}"
        accordion("train", "recipes/demo-constant.yaml", f"optimizer.lr={rate}", f"run={run}", "evaluation.every.steps=1000")
        losses = json.loads(accordion("eval", run, "--data", "corpora/demo", "--lengths", ",".join(map(str, LENGTHS)), "--tokens", "1e6",
                                      "--json", "precision=bf16"))["lengths"]
        evaluated[rate] = losses
        rows.append([rate, *(f"{line['loss']:.3f}" for line in losses)])
        print(" | ".join(rows[-1]), flush=True)
    columns = ["peak learning rate", *(f"loss at {length:,}" for length in LENGTHS)]
    results.write("demo-grid", "bench/demo_grid.py build/accordion", columns, rows, evaluated=evaluated)


main()
