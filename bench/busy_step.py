#!/usr/bin/env python3
"""A step on a machine that has other work, by how long threads spin before they sleep: bench/results/busy-step.json.

    python bench/busy_step.py build/accordion --model pythia-14m

A column is a setting of OpenMP's runtime, a row is what else goes on: nothing; another busy process; the same with the step at the
lowest priority; a second equal training; a quota of processor time as containers have it (needs root and control groups, else a
dash). Cells are seconds of a step, and in brackets times those of the same setting alone. Settings take turns within a round, and
each cell is the median over the rounds.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

import results

SETTINGS = {"runtime's own, 300,000 rounds": "GOMP_SPINCOUNT=300000", "10,000 rounds": "GOMP_SPINCOUNT=10000", "1,000 rounds": None,
            "none": "OMP_WAIT_POLICY=passive"}
BUSY = [sys.executable, "-c", "while True: pass"]
CONTROL = pathlib.Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds, as container engines set it


@contextlib.contextmanager
def beside(command):
    """`command` runs meanwhile."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def quota(cores):
    """A control group that may use so many cores' time; None where such a group cannot be made."""
    old = (CONTROL / "cpu/cpu.cfs_quota_us").exists()
    folder = (CONTROL / "cpu" if old else CONTROL) / f"accordion-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        try:
            if old:
                (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
                (folder / "cpu.cfs_quota_us").write_text(str(int(cores * PERIOD)))
            else:
                (folder / "cpu.max").write_text(f"{int(cores * PERIOD)} {PERIOD}")
        except OSError:
            yield None
        else:
            yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


def start(command, setting, before=(), group=None):
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")}
    if setting:
        environment.update([setting.split("=")])
    def join():
        if group:
            group.write_text(str(os.getpid()))
    return subprocess.Popen([*before, *command], env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=join)


def seconds(process):
    printed = process.communicate()[0]
    if process.returncode != 0:
        raise SystemExit(f"{process.args}: it failed")
    return json.loads(printed)["step_seconds"]["median"]


def quiet(command, setting):
    return seconds(start(command, setting))


def busy(command, setting):
    with beside(BUSY):
        return seconds(start(command, setting))


def low_priority(command, setting):
    with beside(BUSY):
        return seconds(start(command, setting, ["nice", "-n", "19"]))


def two(command, setting):
    pair = [start(command, setting) for _ in range(2)]
    return statistics.mean(seconds(one) for one in pair)


def within(cores):
    def measure(command, setting):
        with quota(cores) as group:
            return seconds(start(command, setting, group=group)) if group else None
    return measure


CASES = {"nothing": quiet, "a busy process": busy, "a busy process, the step at nice 19": low_priority,
         "a second equal training": two, "a quota of 1.5 cores": within(1.5), "a quota of 1 core": within(1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accordion", type=pathlib.Path)
    parser.add_argument("--model", default="pythia-14m")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=pathlib.Path, default=results.FOLDER, help="where the file goes")
    arguments = parser.parse_args()

    command = [str(word) for word in (
        arguments.accordion.absolute(), "bench", "step", results.ROOT / f"models/{arguments.model}.json", "--length", arguments.length,
        "--rows", arguments.rows, "--precision", arguments.precision, "--threads", arguments.threads, "--steps", arguments.steps,
        "--json")]
    measured = {case: {name: [] for name in SETTINGS} for case in CASES}
    for _ in range(arguments.rounds):
        for case, measure in CASES.items():
            for name, setting in SETTINGS.items():
                measured[case][name].append(measure(command, setting))
            print(case, {name: round(times[-1], 3) if times[-1] else None for name, times in measured[case].items()}, flush=True)
    median = {case: {name: statistics.median(times) if None not in times else None for name, times in of_case.items()}
              for case, of_case in measured.items()}
    rows = [[case, *("-" if value is None else f"{value:.3f} ({value / median['nothing'][name]:.2f})" for name, value in of_case.items())]
            for case, of_case in median.items()]
    results.write("busy-step", results.typed(), ["beside it", *SETTINGS], rows, folder=arguments.results, model=arguments.model,
                  length=arguments.length, rows_of_step=arguments.rows, precision=arguments.precision, measured=measured)


main()
