#!/usr/bin/env python3
"""Keeps the result of `./dev demo`: bench/results/demo.json for the table and docs/demo.svg for the picture of the README."""

import json
import pathlib
import subprocess
import sys

import matplotlib

import results

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  (after the choice of the backend)

RUNS = ["runs/demo-constant", "runs/demo-stretched"]


def metrics(run):
    return [json.loads(line) for line in (results.ROOT / run / "metrics.jsonl").read_text().splitlines()]


def draw(path):
    matplotlib.rcParams.update({"svg.hashsalt": "accordion", "font.size": 9})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    for run in RUNS:
        name = pathlib.Path(run).name.removeprefix("demo-")
        lines = metrics(run)
        steps = [line for line in lines if line["type"] == "step"]
        longest = max(line["length"] for line in lines if line["type"] == "eval")
        seconds = {line["step"]: line["seconds"] for line in steps}
        losses = [(seconds[line["step"]], line["loss"]) for line in lines
                  if line["type"] == "eval" and line["length"] == longest and line["step"] in seconds]
        left.plot(*zip(*losses), label=name)
        right.step([line["tokens"] / 1e6 for line in steps], [line["length"] for line in steps], label=name)
    left.set(xlabel="seconds of training", ylabel=f"validation loss at length {longest}")
    right.set(xlabel="million tokens trained", ylabel="sequence length")
    right.set_yscale("log", base=2)
    right.yaxis.set_major_formatter("{x:,.0f}")
    left.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    compared = subprocess.run([sys.argv[1], "compare", *RUNS, "--json"], cwd=results.ROOT, check=True, capture_output=True, text=True)
    compared = json.loads(compared.stdout)
    lengths = [line["length"] for line in compared["runs"][0]["eval"]]
    first = compared["runs"][0]
    rows = [[pathlib.Path(run["run"]).name, f"{run['tokens'] / 1e6:.2f}M", f"{run['flops'] / 1e12:.1f}", f"{run['seconds']:.0f}",
             f"{run['seconds'] / first['seconds']:.2f}", *(f"{line['loss']:.3f}" for line in run["eval"])]
            for run in compared["runs"]]
    columns = ["run", "tokens", "TFLOPs", "seconds", "share of seconds", *(f"loss at {length:,}" for length in lengths)]
    results.write("demo", "./dev demo", columns, rows, compared=compared)
    draw(results.ROOT / "docs/demo.svg")


main()
