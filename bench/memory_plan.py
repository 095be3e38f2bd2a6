#!/usr/bin/env python3
"""What `plan` says a step holds beside what the step held: bench/results/memory-plan.json.

    python bench/memory_plan.py build/accordion

Each point is a model, a shape and a set of memory techniques. `accordion plan` states the peak of tensors; `accordion bench step`
measures it, with the resident memory of its process. --keep goes on where a run was cut, and compares a mended planner with steps that
were measured before; each says by which commit.
"""

import argparse
import json
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
    ("gpt3-111m-alibi", "f32", 2048, 1, "mlp again", ["memory.recompute=mlp"]),
    ("pythia-410m", "f32", 1024, 1, "mini_sequence", FOLDED),
    ("pythia-410m", "bf16", 1024, 1, "optimizer in backward", [*FOLDED, *IN_BACKWARD]),
]


def plan(accordion, threads, model, precision, length, rows, _, keys):
    """What `plan` says: bytes of tensors at the peak, and of the whole process."""
    found = results.run(accordion, "plan", "recipes/fixed.yaml", "--json", "--threads", threads, f"model=models/{model}.json",
                        f"length_schedule={{length: {length}}}", f"evaluation.lengths=[{length}]",
                        f"batch={{sequences: {rows}, policy: constant_sequences}}", f"precision={precision}",
                        f"batch.microbatch={rows}", *keys)["memory"]
    return {"tensors": found["peak"], "process": found["process"]}


def measure(accordion, threads, model, precision, length, rows, _, keys):
    """The same of a step."""
    found = results.run(accordion, "bench", "step", f"models/{model}.json", "--length", length, "--rows", rows, "--steps", 1, "--json",
                        "--threads", threads, "--precision", precision, f"batch.microbatch={rows}", *keys)
    return {"tensors": found["peak_bytes"], "process": found["peak_rss_bytes"], "commit": results.commit()}


def name_of(model, precision, length, rows, techniques, _):
    return f"{model}, {precision}, {length:,} x {rows}, {techniques}"


def table(planned, measured):
    """A row for each point that was measured, then the median and the worst of all."""
    rows, columns = [], {"tensors": [], "process": [], "share": []}
    for point in POINTS:
        if (name := name_of(*point)) not in measured:
            continue
        of = {kind: planned[name][kind] / measured[name][kind] - 1 for kind in ("tensors", "process")}
        of["share"] = measured[name]["tensors"] / measured[name]["process"]
        for kind, value in of.items():
            columns[kind].append(value)
        bytes_of = [f"{side[name][kind] / 2**20:,.0f}" for kind in ("tensors", "process") for side in (planned, measured)]
        rows.append([*point[:2], f"{point[2]:,} x {point[3]}", point[4], *bytes_of[:2], f"{100 * of['tensors']:+.1f} %", *bytes_of[2:],
                     f"{100 * of['process']:+.1f} %", f"{100 * of['share']:.0f} %"])
    for title, of, least in (("median", statistics.median, statistics.median), ("worst", max, min)):
        errors = [f"{100 * of([abs(value) for value in columns[kind]]):.1f} %" for kind in ("tensors", "process")]
        rows.append([title, *[""] * 5, errors[0], "", "", errors[1], f"{100 * least(columns['share']):.0f} %"])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="measure only points that the file of results lacks; all are planned anew")
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    path = arguments.results / "memory-plan.json"
    measured = json.loads(path.read_text())["measured"] if arguments.keep and path.exists() else {}
    columns = ["model", "precision", "length x rows", "techniques", "tensors planned, MiB", "measured", "error",
               "process planned, MiB", "measured", "error", "tensors of process"]
    program = arguments.accordion.absolute(), arguments.threads
    planned = {name_of(*point): plan(*program, *point) for point in POINTS}

    def write():
        results.write("memory-plan", results.typed(), columns, table(planned, measured), folder=arguments.results, planned=planned,
                      measured=measured)

    for point in POINTS:
        name = name_of(*point)
        if name in measured:
            continue
        measured[name] = measure(*program, *point)
        print(f"{name}: {planned[name]['tensors'] / measured[name]['tensors'] - 1:+.1%}", flush=True)
        write()  # a run that is cut loses one point
    write()


main()
