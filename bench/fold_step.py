#!/usr/bin/env python3
"""What recomputation and mini-sequences cost in time: bench/results/fold-step-MODEL.json.

    python bench/fold_step.py build/accordion --model llama-3-proportions --lengths 1024,4096

Times a step of Accordion with plain recomputation of layers, of Hugging Face with gradient checkpointing, and of Accordion with
every technique on, one after the other, in several rounds. Two ratios come of it: Hugging Face's seconds to ours, both with
recomputation, and our seconds with everything on to those with recomputation alone; each is the median of the rounds' own ratios,
since the machine's speed drifts over minutes.
"""

import argparse
import pathlib
import statistics
import sys

import results

RECOMPUTE = ["memory.recompute=layer"]
EVERYTHING = [*RECOMPUTE, "memory.mini_sequence.mlp=auto", "memory.mini_sequence.attention=auto"]


def sides(arguments, length):
    """The commands that are compared, by name."""
    model = f"models/{arguments.model}.json"
    shape = ["--length", length, "--rows", max(1, arguments.tokens // length), "--precision", arguments.precision,
             "--threads", arguments.threads, "--steps", arguments.steps]
    ours = [arguments.accordion.absolute(), "bench", "step", model, *shape, "--json"]
    return {"recompute": [*ours, *RECOMPUTE],
            "hugging_face": [sys.executable, "bench/peers/hf_step.py", model, *shape, "--checkpointing"],
            "everything": [*ours, *EVERYTHING]}


def measure(arguments, length):
    """All rounds of all sides. Every second round goes backwards, so that none always comes after the same other."""
    commands = sides(arguments, length)
    rounds = {name: [] for name in commands}
    for index in range(arguments.rounds):
        for name in list(commands)[::1 if index % 2 == 0 else -1]:
            rounds[name].append(results.run(*commands[name]))
    return rounds


def seconds(rounds, name):
    return [one["step_seconds"]["median"] for one in rounds[name]]


def ratio(rounds, above, below):
    return statistics.median(a / b for a, b in zip(seconds(rounds, above), seconds(rounds, below)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--model", default="llama-3-proportions")
    parser.add_argument("--tokens", type=int, default=4096, help="of a step; one row at least")
    parser.add_argument("--lengths", default="1024,4096")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one that warms up")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    rows, measured = [], []
    for length in map(int, arguments.lengths.split(",")):
        rounds = measure(arguments, length)
        entry = {"length": length, "hugging_face_to_recompute": ratio(rounds, "hugging_face", "recompute"),
                 "everything_to_recompute": ratio(rounds, "everything", "recompute")}
        measured.append({**entry, "rounds": rounds})
        rows.append([f"{length:,}", *(f"{statistics.median(seconds(rounds, name)):.2f}" for name in rounds),
                     f"{entry['hugging_face_to_recompute']:.2f}", f"{entry['everything_to_recompute']:.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    columns = ["length", "recompute, s", "Hugging Face checkpointing, s", "everything on, s", "Hugging Face / recompute",
               "everything on / recompute"]
    results.write(f"fold-step-{arguments.model}", results.typed(), columns, rows, folder=arguments.results,
                  precision=arguments.precision, measured=measured)


main()
