#!/usr/bin/env python3
"""The longest row that each program trains within a budget of activations, on the processor: bench/results/memory-NAME.json.

    python bench/memory.py build/accordion --configs llama-3-proportions,gemma-2-proportions --budget 1GiB

One rule for all: bf16, AdamW, one whole step; activations are what the step's highest resident memory has above weights, gradients
and moments; the longest length, a multiple of 64, that stays within the budget. With --length it is the most rows of that length
which go through at once, and their speed. Each trial is a process of its own. Accordion searches by itself (`accordion bench
memory`); trials of the others are bench/peers/memory_step.py. The Mini-Sequence Transformer
(MsT) takes part where --mst-path holds its code, see there.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import results

GRAIN = 64
PEER_METHODS = {"hugging_face": ["none", "checkpointing"], "mst": ["mst"]}
METHODS = ["none", "recompute", "mini_sequence", "all"]
NAMES = {"hugging_face": "Hugging Face", "mst": "MsT", "accordion": "Accordion"}


class Failed(Exception):
    """A program that could not be measured, and why."""


def size(text):
    number, unit = re.fullmatch(r"([\d.]+)([KMG]iB)", text).groups()
    return int(float(number) * 2 ** {"KiB": 10, "MiB": 20, "GiB": 30}[unit])


def last_line(text):
    return (text.strip().splitlines() or ["no message"])[-1]


def trial(arguments, config, method, size):
    """`size` is the length of a row, or the number of rows. The figures of one step of a peer; only `stopped` and why where it ran out of time or was killed, as for want of memory."""
    length, rows = (arguments.length, size) if arguments.length else (size, 1)
    command = [sys.executable, "bench/peers/memory_step.py", "--config", f"models/{config}.json", "--length", length, "--rows", rows,
               "--method", method,
               "--threads", arguments.threads, "--accumulate", arguments.accumulate, *(["--in-backward"] if arguments.in_backward else []),
               *(["--mst-path", arguments.mst_path.absolute()] if method == "mst" else [])]
    try:
        ended = subprocess.run([str(word) for word in command], cwd=results.ROOT, capture_output=True, text=True,
                               timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        return {"size": size, "stopped": f"took over {arguments.limit:g} s"}
    if ended.returncode == -9:
        return {"size": size, "stopped": "killed"}
    if ended.returncode != 0:
        raise Failed(last_line(ended.stderr))
    return {"size": size, **json.loads(ended.stdout)}


def between(low, high, budget, margin, grain):
    """A size to try next: where the line between two trials meets the budget, but at least `margin` away from both, so that the
    gap shrinks on either outcome. The middle where the upper trial has no figure."""
    middle = (low["size"] + high["size"]) / 2
    if "activations_bytes" in high:
        share = (budget - low["activations_bytes"]) / (high["activations_bytes"] - low["activations_bytes"])
        middle = low["size"] + share * (high["size"] - low["size"])
    return int(min(max(middle, low["size"] + margin), high["size"] - margin)) // grain * grain


def largest(attempt, budget, within, first, grain):
    """The trial of the largest size that fits, by doubling from `first` where that fits, then by narrowing the gap to 5 %, then to
    `grain` or to the share `within`. Returns it (None where nothing does) and all trials."""
    trials = []

    def fits(size):
        trials.append(attempt(size))
        last = trials[-1]
        print(f"  {size:,}: " + (last.get("stopped") or f"{last['activations_bytes'] / 2**20:,.0f} MiB, {last['step_seconds']:.1f} s"),
              file=sys.stderr, flush=True)
        return last.get("activations_bytes", budget + 1) <= budget

    low, size = {"size": 0, "activations_bytes": 0}, first
    while fits(size):
        low, size = trials[-1], 2 * size
    high = trials[-1]
    for share in (0.05, within):
        while high["size"] - low["size"] > max(grain, share * low["size"]):
            margin = max(grain, share * low["size"] // grain * grain)
            if 2 * margin > high["size"] - low["size"]:
                margin = grain
            if fits(between(low, high, budget, margin, grain)):
                low = trials[-1]
            else:
                high = trials[-1]
    return low if low["size"] else None, trials


def peer(arguments, config, program, method):
    print(f"{config}, {NAMES[program]}, {method}", file=sys.stderr, flush=True)
    row = {"program": NAMES[program], "method": method}
    try:
        if program == "mst" and not arguments.mst_path.is_dir():
            raise Failed(f"{arguments.mst_path} is not there; put checkouts of github.com/wdlctc/mini-s and "
                         "github.com/wdlctc/transformers into a folder and name it by --mst-path")
        best, trials = largest(lambda size: trial(arguments, config, method, size), arguments.bytes, arguments.within,
                               *((1, 1) if arguments.length else (arguments.first, GRAIN)))
    except Failed as failure:
        print(f"  not measured: {failure}", file=sys.stderr, flush=True)
        return {**row, "longest": None, "why": str(failure)}
    best = best or {}
    if best and arguments.length:
        best["tokens_per_second"] = best["rows"] * arguments.accumulate * arguments.length / best["step_seconds"]
    return {**row, "rows" if arguments.length else "longest": best.get("size", 0),
            **{key: value for key, value in best.items() if key not in ("method", "config", "length", "rows", "size")},
            "trials": [{key: one.get(key) for key in ("size", "activations_bytes", "step_seconds", "stopped")} for one in trials]}


def accordion(arguments, config, method):
    """By the program's own search."""
    print(f"{config}, Accordion, {method}", file=sys.stderr, flush=True)
    row = {"program": NAMES["accordion"], "method": method}
    in_backward = ["memory.optimizer_in_backward=true", "optimizer.clip=0"] if arguments.in_backward else []
    command = [arguments.accordion.absolute(), "bench", "memory", f"models/{config}.json", "--precision", "bf16",
               "--activations", arguments.budget, "--methods", method, "--threads", arguments.threads,
               *(["--accumulate", arguments.accumulate] if arguments.accumulate > 1 else []),
               *(["--length", arguments.length] if arguments.length else []),
               *(["--up-to", arguments.up_to] if arguments.up_to else []), "--json", *in_backward]
    try:
        ended = subprocess.run([str(word) for word in command], cwd=results.ROOT, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        sys.exit(f"{arguments.accordion} does not start ({error.strerror}); build it with ./dev build")
    if ended.returncode != 0:
        return {**row, "longest": None, "why": f"`accordion bench memory` ended with {ended.returncode}"}
    found = json.loads(ended.stdout)[0]
    return {**row, **found, "activations_bytes": found["activations_rss_bytes"],
            "bounded": bool(arguments.up_to) and (found["rows"] == arguments.up_to // arguments.length if arguments.length else
                                                  found["longest"] == arguments.up_to // GRAIN * GRAIN)}


def measure(arguments, config, rows):
    """Adds to `rows`, by program and method, what is asked for and missing; yields after each one."""
    for program in arguments.programs.split(","):
        for method in arguments.methods.split(",") if program == "accordion" else PEER_METHODS[program]:
            if (NAMES[program], method) in rows:
                continue
            row = accordion(arguments, config, method) if program == "accordion" else peer(arguments, config, program, method)
            rows[NAMES[program], method] = {**row, "command": results.typed(), "machine": results.machine(), "commit": results.commit()}
            yield


def in_order(rows):
    order = [(NAMES[program], method) for program in NAMES for method in PEER_METHODS.get(program, METHODS)]
    return [rows[key] for key in order if key in rows]


def earlier(path, arguments):
    """The rows of a file, by program and method, that were measured, where it was made under the same rule."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    if any(content[key] != value for key, value in rule(arguments).items()):
        sys.exit(f"{path}: has rows of another rule; without --keep they are measured anew")
    return {(row["program"], row["method"]): row for row in content["measured"] if "why" not in row}


def rule(arguments):
    return {"budget": arguments.bytes, "accumulate": arguments.accumulate, "in_backward": arguments.in_backward}


def table_row(row, by_rows):
    def figure(key, form):
        return "-" if row.get(key) is None else form(row[key])
    speed = [figure("tokens_per_second", "{:,.0f}".format)] if by_rows else []
    size = figure("rows" if by_rows else "longest", "{:,}".format)
    return [row["program"], row["method"], f"at least {size}" if row.get("bounded") else size, figure("planned", "{:,}".format),
            figure("activations_bytes", lambda value: f"{value / 2**20:,.0f}"), figure("step_seconds", "{:.1f}".format), *speed]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path, nargs="?", default=results.ROOT / "build/accordion")
    parser.add_argument("--configs", default="llama-3-proportions,gemma-2-proportions", help="names in models/")
    parser.add_argument("--programs", default="hugging_face,mst,accordion")
    parser.add_argument("--methods", default=",".join(METHODS), help="those of accordion bench memory")
    parser.add_argument("--budget", default="1GiB", help="activations, as in 1GiB or 512MiB")
    parser.add_argument("--length", type=int, help="search the most rows of this length instead of the longest row")
    parser.add_argument("--up-to", type=int, help="most tokens of Accordion's to try at once, where a step of more takes too long")
    parser.add_argument("--first", type=int, default=256, help="length at which the search of a peer begins")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches in the step")
    parser.add_argument("--in-backward", action="store_true", help="update within the backward pass, no clipping, gradients freed at once")
    parser.add_argument("--mst-path", type=pathlib.Path, default=results.ROOT / ".deps/mst", help="folder with MsT's code")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900, help="seconds for a trial of a peer; one that takes longer counts as too long")
    parser.add_argument("--keep", action="store_true", help="measure only rows that the file of results lacks")
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
    variant = "".join([f"-rows-{arguments.length}" if arguments.length else "",
                       f"-accumulate-{arguments.accumulate}" if arguments.accumulate > 1 else "",
                       "-in-backward" if arguments.in_backward else ""])
    for config in arguments.configs.split(","):
        name = f"memory-{config}{variant}"
        rows = earlier(arguments.results / f"{name}.json", arguments) if arguments.keep else {}
        columns = ["program", "method", "rows" if arguments.length else "longest", "planned", "activations, MiB", "step, s",
                   *(["tokens/s"] if arguments.length else [])]
        for _ in measure(arguments, config, rows):  # hours: what is there is kept
            measured = in_order(rows)
            commands = dict.fromkeys(row["command"] for row in measured)
            results.write(name, "` and `".join(commands), columns, [table_row(row, bool(arguments.length)) for row in measured],
                          folder=arguments.results, **rule(arguments), measured=measured)


main()
