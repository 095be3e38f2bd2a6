"""Run folders as a trainer leaves them, without a trainer: for tests of what reads them, and to look at the page.

    python3 tests/e2e/fake_run.py FOLDER    writes FOLDER/constant and FOLDER/stretched
"""

import json
import math
import pathlib
import random
import sys


def write_run(folder, segments, final_loss, total=1200, batch=16384, evaluate=(256, 1024, 4096), seed=1):
    """segments: [(share of the steps, length), ...]; the loss falls to about final_loss."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random.seed(seed)
    seconds = flops = tokens = 0
    previous = None
    with open(folder / "metrics.jsonl", "w") as file:

        def record(**fields):
            file.write(json.dumps(fields) + "\n")

        for step in range(1, total + 1):
            share = (step - 1) / total
            length = next(length for until, length in segments if share < until)
            if previous not in (None, length):
                record(type="length", step=step, tokens=tokens, **{"from": previous, "to": length}, rows=batch // length)
            previous = length
            cost = 1 + length / 2500
            step_seconds = 0.3 * cost * random.uniform(0.97, 1.05)
            seconds += step_seconds
            flops += 3.1e11 * cost
            tokens += batch
            fall = 6.5 * math.exp(-9 * step / total) + 0.9 * math.exp(-2.5 * step / total)
            loss = final_loss + fall + 0.25 / math.log2(length) + random.gauss(0, 0.06)
            record(type="step", step=step, total_steps=total, tokens=tokens, length=length, rows=batch // length, loss=loss, lr=1e-3,
                   grad_norm=0.7, seconds=seconds, step_seconds=step_seconds, tokens_per_second=batch / step_seconds, flops=flops,
                   peak_bytes=2 << 30)
            if step % 60 == 0 or step == total:
                for at in evaluate:
                    beyond = 0.25 * max(0, math.log2(at / length))
                    record(type="eval", step=step, tokens=tokens, length=at, eval_tokens=65536,
                           loss=final_loss + fall + 2.0 / math.log2(at) + beyond + random.gauss(0, 0.004))
    return folder


def write_pair(folder):
    folder = pathlib.Path(folder)
    return (write_run(folder / "constant", [(1, 4096)], 3.30),
            write_run(folder / "stretched", [(0.4, 256), (0.7, 1024), (1, 4096)], 3.285, seed=2))


if __name__ == "__main__":
    write_pair(sys.argv[1])
