#!/usr/bin/env python3
"""The longest row that each program trains within a budget of activations, on the processor: bench/results/memory-NAME.json.

    python bench/memory.py build/accordion --configs llama-3-proportions,gemma-2-proportions --budget 1GiB

One rule for all: bf16, AdamW, one whole step; activations are what the step's highest resident memory has above weights, gradients
and moments; the longest length, a multiple of 64, that stays within the budget. Each trial is a process of its own. Accordion
searches by itself (`accordion bench memory`); trials of the others are bench/peers/memory_step.py. The Mini-Sequence Transformer
(MsT) takes part where --mst-path holds its code, see there.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

import results

GRAIN = 64
PEER_METHODS = {"hugging_face": ["none", "checkpointing"], "mst": ["mst"]}
NAMES = {"hugging_face": "Hugging Face", "mst": "MsT", "accordion": "Accordion"}


class Failed(Exception):
    """A program that could not be measured, and why."""


def size(text):
    number, unit = re.fullmatch(r"([\d.]+)([KMG]iB)", text).groups()
    return int(float(number) * 2 ** {"KiB": 10, "MiB": 20, "GiB": 30}[unit])


def last_line(text):
    return (text.strip().splitlines() or ["no message"])[-1]


def trial(arguments, config, method, length):
    """The figures of one step of a peer; only `stopped` and why where it ran out of time or was killed, as for want of memory."""
    command = [sys.executable, "bench/peers/memory_step.py", "--config", f"models/{config}.json", "--length", length, "--method", method,
               "--threads", arguments.threads, "--accumulate", arguments.accumulate, *(["--in-backward"] if arguments.in_backward else []),
               *(["--mst-path", arguments.mst_path.absolute()] if method == "mst" else [])]
    try:
        ended = subprocess.run([str(word) for word in command], cwd=results.ROOT, capture_output=True, text=True,
                               timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        return {"length": length, "stopped": f"took over {arguments.limit:g} s"}
    if ended.returncode == -9:
        return {"length": length, "stopped": "killed"}
    if ended.returncode != 0:
        raise Failed(last_line(ended.stderr))
    return json.loads(ended.stdout)


def between(low, high, budget, margin):
    """A length to try next: where the line between two trials meets the budget, but at least `margin` away from both, so that the
    gap shrinks on either outcome. The middle where the upper trial has no figure."""
    middle = (low["length"] + high["length"]) / 2
    if "activations_bytes" in high:
        share = (budget - low["activations_bytes"]) / (high["activations_bytes"] - low["activations_bytes"])
        middle = low["length"] + share * (high["length"] - low["length"])
    return int(min(max(middle, low["length"] + margin), high["length"] - margin)) // GRAIN * GRAIN


def longest(attempt, budget, within):
    """The trial of the longest length that fits, by doubling from 256, then by narrowing the gap to 5 %, then to GRAIN or to the
    share `within`. Returns it (None where 256 does not fit) and all trials."""
    trials = []

    def fits(length):
        trials.append(attempt(length))
        last = trials[-1]
        print(f"  {length:,}: " + (last.get("stopped") or f"{last['activations_bytes'] / 2**20:,.0f} MiB, {last['step_seconds']:.1f} s"),
              file=sys.stderr, flush=True)
        return last.get("activations_bytes", budget + 1) <= budget

    low, length = None, 256
    while fits(length):
        low, length = trials[-1], 2 * length
    high = trials[-1]
    if low is None:
        return None, trials
    for share in (0.05, within):
        while high["length"] - low["length"] > max(GRAIN, share * low["length"]):
            margin = max(GRAIN, share * low["length"] // GRAIN * GRAIN)
            if 2 * margin > high["length"] - low["length"]:
                margin = GRAIN
            if fits(between(low, high, budget, margin)):
                low = trials[-1]
            else:
                high = trials[-1]
    return low, trials


def peer(arguments, config, program, method):
    print(f"{config}, {NAMES[program]}, {method}", file=sys.stderr, flush=True)
    row = {"program": NAMES[program], "method": method}
    try:
        if program == "mst" and not arguments.mst_path.is_dir():
            raise Failed(f"{arguments.mst_path} is not there; put checkouts of github.com/wdlctc/mini-s and "
                         "github.com/wdlctc/transformers into a folder and name it by --mst-path")
        best, trials = longest(lambda length: trial(arguments, config, method, length), arguments.bytes, arguments.within)
    except Failed as failure:
        print(f"  not measured: {failure}", file=sys.stderr, flush=True)
        return {**row, "longest": None, "why": str(failure)}
    best = best or {}
    return {**row, "longest": best.get("length", 0), **{key: value for key, value in best.items() if key not in ("method", "config", "length")},
            "trials": [{key: one.get(key) for key in ("length", "activations_bytes", "step_seconds", "stopped")} for one in trials]}


def accordion(arguments, config):
    """One row for each of our methods, by the program's own search."""
    print(f"{config}, Accordion", file=sys.stderr, flush=True)
    in_backward = ["memory.optimizer_in_backward=true", "optimizer.clip=0"] if arguments.in_backward else []
    command = [arguments.accordion.absolute(), "bench", "memory", f"models/{config}.json", "--precision", "bf16",
               "--activations", arguments.budget, "--methods", arguments.methods, "--threads", arguments.threads,
               *(["--accumulate", arguments.accumulate] if arguments.accumulate > 1 else []), "--json", *in_backward]
    try:
        ended = subprocess.run([str(word) for word in command], cwd=results.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failed(f"{arguments.accordion} does not start ({error.strerror}); build it with ./dev build") from error
    if ended.returncode != 0:
        raise Failed(f"`accordion bench memory` ended with {ended.returncode}: {last_line(ended.stderr)}")
    return [{"program": NAMES["accordion"], **row, "activations_bytes": row.pop("activations_rss_bytes", None)}
            for row in json.loads(ended.stdout)]


def measure(arguments, config):
    rows = []
    for program in arguments.programs.split(","):
        if program == "accordion":
            try:
                rows += accordion(arguments, config)
            except Failed as failure:
                print(f"  not measured: {failure}", file=sys.stderr, flush=True)
                rows.append({"program": NAMES[program], "method": None, "longest": None, "why": str(failure)})
        else:
            rows += [peer(arguments, config, program, method) for method in PEER_METHODS[program]]
    return rows


def table_row(row):
    def figure(key, form):
        return "-" if row.get(key) is None else form(row[key])
    return [row["program"], row["method"] or "-", figure("longest", "{:,}".format),
            figure("activations_bytes", lambda value: f"{value / 2**20:,.0f}"), figure("step_seconds", "{:.1f}".format)]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path, nargs="?", default=results.ROOT / "build/accordion")
    parser.add_argument("--configs", default="llama-3-proportions,gemma-2-proportions", help="names in models/")
    parser.add_argument("--programs", default="hugging_face,mst,accordion")
    parser.add_argument("--methods", default="none,recompute,mini_sequence,all", help="those of accordion bench memory")
    parser.add_argument("--budget", default="1GiB", help="activations, as in 1GiB or 512MiB")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches of one row in the step")
    parser.add_argument("--in-backward", action="store_true", help="update within the backward pass, no clipping, gradients freed at once")
    parser.add_argument("--mst-path", type=pathlib.Path, default=results.ROOT / ".deps/mst", help="folder with MsT's code")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900, help="seconds for a trial of a peer; one that takes longer counts as too long")
    parser.add_argument("--within", type=float, default=0.0, help="end a search when its gap is this share of the length")
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the files go")
    arguments = parser.parse_args()
    unknown = set(arguments.programs.split(",")) - set(NAMES)
    if unknown:
        parser.error(f"--programs: {', '.join(sorted(unknown))}: not among {', '.join(NAMES)}")
    if not re.fullmatch(r"[\d.]+[KMG]iB", arguments.budget):
        parser.error(f"--budget: '{arguments.budget}' is not a size such as 1GiB")
    arguments.bytes = size(arguments.budget)
    return arguments


def main():
    arguments = parse()
    variant = (f"-accumulate-{arguments.accumulate}" if arguments.accumulate > 1 else "") + ("-in-backward" if arguments.in_backward else "")
    for config in arguments.configs.split(","):
        begin = time.monotonic()
        measured = measure(arguments, config)
        results.write(f"memory-{config}{variant}", "./dev bench-memory", ["program", "method", "longest", "activations, MiB", "step, s"],
                      [table_row(row) for row in measured], folder=arguments.results, budget=arguments.bytes,
                      accumulate=arguments.accumulate, in_backward=arguments.in_backward, seconds=time.monotonic() - begin, measured=measured)


main()
