#!/usr/bin/env python3
"""One real run over rows of 262,144 tokens, with layer inputs on disk: bench/results/long-run.json.

    python bench/long_run.py build/accordion --steps 4

Trains recipes/fold.yaml on the demo's corpus (`./dev demo` makes it) and puts what `plan` says of its memory beside what the run held.
"""

import argparse
import json
import pathlib
import shutil
import subprocess

import results

RUN = "runs/long-run"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    accordion = arguments.accordion.absolute()
    keys = [f"budget.steps={arguments.steps}", f"evaluation.every={{steps: {arguments.steps}}}"]
    shutil.rmtree(results.ROOT / RUN, ignore_errors=True)  # a run that is there would be resumed
    subprocess.run([str(accordion), "train", "recipes/fold.yaml", f"run={RUN}", *keys, f"memory.timeline={RUN}-memory.html"],
                   cwd=results.ROOT, check=True)
    plan = results.run(accordion, "plan", "recipes/fold.yaml", "--json", *keys)
    lines = [json.loads(line) for line in (results.ROOT / RUN / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["type"] == "step"]
    rows = [[line["step"], f"{line['tokens']:,}", f"{line['loss']:.3f}", f"{line['grad_norm']:.2f}", f"{line['step_seconds']:.0f}",
             *(f"{size / 2**20:,.0f}" for size in (line["peak_bytes"], plan["memory"]["peak"], line["rss_bytes"],
                                                  plan["memory"]["process"]))] for line in steps]
    columns = ["step", "tokens", "loss", "gradient norm", "seconds", "tensors, MiB", "planned", "resident, MiB", "planned"]
    results.write("long-run", results.typed(), columns, rows, folder=arguments.results,
                  planned=plan["memory"], lines=lines)


main()
