#!/usr/bin/env python3
"""Folding on a GPU: time and memory of a step by method and length, bench/results/gpu-fold-MODEL.json.

    python bench/gpu_fold.py build/accordion --model llama-2-7b --layers 4 --lengths 8192,65536

Times one row in bf16 by Accordion without recomputation, with recomputation of layers, with every technique on, and with layer inputs
in host memory besides, and by Hugging Face's plain loop without and with gradient checkpointing. What does not fit is said so. Peaks
are those of tensors on the device; Hugging Face keeps weights, gradients and moments in bf16 (8 bytes a parameter), Accordion
gradients, moments and master weights in f32 (18 bytes), so peaks are given above those too.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import results

RECOMPUTE = ["memory.recompute=layer"]
ALL = [*RECOMPUTE, "memory.mini_sequence={mlp: auto, attention: auto}"]
OURS = {"none": [], "recompute": RECOMPUTE, "all": ALL, "all, host": [*ALL, "memory.offload=host"]}
THEIRS = {"none": [], "checkpointing": ["--checkpointing"]}
STATE_BYTES = {"Hugging Face": 8, "Accordion": 18}  # of a parameter


def config_of(arguments, folder):
    """The model's config.json, with fewer layers where that was asked for."""
    path = results.ROOT / f"models/{arguments.model}.json"
    if not arguments.layers:
        return path
    config = json.loads(path.read_text()) | {"num_hidden_layers": arguments.layers}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def plan(arguments, config, method, length):
    """Bytes of tensors at the peak, as `plan` says, which counts for processors."""
    return results.run(arguments.accordion.absolute(), "plan", "recipes/fixed.yaml", "--json", f"model={config}", "precision=bf16",
                       f"length_schedule={{length: {length}}}", f"evaluation={{lengths: [{length}], tokens: {length}}}",
                       "batch={sequences: 1, policy: constant_sequences, microbatch: 1}", *OURS[method])["memory"]["peak"]


def options(parser):
    """What the measurements on a GPU have in common."""
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--model", default="llama-2-7b")
    parser.add_argument("--layers", type=int, help="of the model, instead of its own")
    parser.add_argument("--lengths", default="8192,65536")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one that warms up")
    parser.add_argument("--limit", type=float, default=300, help="seconds of a process")
    parser.add_argument("--commit", help="that the program was built from, where this is no git repository")
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")


def about(arguments):
    """The GPU and the commit, as a result file names them."""
    device = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], check=True, capture_output=True, text=True)
    return {"machine": device.stdout.splitlines()[0].strip(), "commit": arguments.commit or results.commit()}


def measure(arguments, config, program, method, length, *more):
    """What the step's own program prints, or {"stopped": why}."""
    shape = ["--length", length, "--rows", 1, "--precision", "bf16", "--steps", arguments.steps, *more]
    command = ([arguments.accordion.absolute(), "--device", "cuda", "bench", "step", config, *shape, "--json", *OURS[method]]
               if program == "Accordion" else
               [sys.executable, "bench/peers/hf_step.py", config, *shape, "--device", "cuda", *THEIRS[method]])
    try:
        done = subprocess.run(list(map(str, command)), cwd=results.ROOT, capture_output=True, text=True, timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        return {"stopped": f"no answer within {arguments.limit} s"}
    if done.returncode == 0:
        return json.loads(done.stdout)
    return {"stopped": "does not fit" if "out of memory" in done.stderr else (done.stderr.strip().splitlines() or ["?"])[-1]}


def row(program, method, length, found):
    head = [f"{length:,}", program, method]
    if "stopped" in found:
        return [*head, found["stopped"], "-", "-", "-", "-"]
    above = found["peak_bytes"] - STATE_BYTES[program] * found["parameters"]
    return [*head, f"{found['step_seconds']['median']:.2f}", f"{found['tokens_per_second']:,.0f}", f"{found['peak_bytes'] / 2**30:.1f}",
            f"{above / 2**30:.2f}", f"{found['planned_bytes'] / 2**30:.1f}" if "planned_bytes" in found else "-"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--programs", default="Hugging Face,Accordion")
    parser.add_argument("--methods", help="these only, with semicolons between them")
    arguments = parser.parse_args()

    rows, measured = [], []
    columns = ["length", "program", "method", "step, s", "tokens/s", "peak, GiB", "above states, GiB",
               "planned peak, GiB"]
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(arguments, pathlib.Path(folder))
        for length in map(int, arguments.lengths.split(",")):
            for program in arguments.programs.split(","):
                for method in OURS if program == "Accordion" else THEIRS:
                    if arguments.methods and method not in arguments.methods.split(";"):
                        continue
                    found = measure(arguments, config, program, method, length)
                    if program == "Accordion" and "stopped" not in found:
                        found["planned_bytes"] = plan(arguments, config, method, length)
                    measured.append({"length": length, "program": program, "method": method, **found})
                    rows.append(row(program, method, length, found))
                    print(" | ".join(rows[-1]), flush=True)
                    results.write(f"gpu-fold-{arguments.model}", results.typed(), columns, rows, folder=arguments.results,
                                  layers=arguments.layers, measured=measured, **about(arguments))


if __name__ == "__main__":
    main()
