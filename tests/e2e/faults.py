"""Every call of the file system fails in turn, or a signal ends the process there: what a person has must be whole then.

tests/faults/shim.c makes the n-th call of a kind fail. A case is (scenario, call, n, error): the program runs with that
fault, must end with exit code 0 or 2 (0 where the call was only interrupted) and one line, must leave what was good before
whole, and must come to the undisturbed result when it runs again. `./dev faults` tries them all:

    python3 tests/e2e/faults.py [SCENARIO...] [--sample N]
"""

import argparse
import collections
import dataclasses
import errno
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

from e2e.tiny import ACCORDION, MODEL

SHIM = os.environ.get("FAULTS", "build-dev/tests/libfaults.so")
KILL, TERM = -1, -2
ERRORS = [errno.EPERM, errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOTSUP, errno.EINTR, KILL, TERM]

TINY = MODEL | {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16}
RECIPE = """\
model: {inputs}/model.json
run: {run}
data: {{train: {folder}/corpus, validation: {folder}/corpus}}
budget: {{steps: 4}}
batch: {{tokens: 64}}
length_schedule: {{length: 16}}
precision: f32
evaluation: {{every: {{steps: 2}}, tokens: 64, lengths: [16]}}
checkpoint: {{every: {{steps: 2}}, keep: 2}}
"""


def name_of(error):
    return {KILL: "SIGKILL", TERM: "SIGTERM"}.get(error) or errno.errorcode[error]


def accordion(*arguments, environment=None):
    return subprocess.run([ACCORDION, "--threads", "1", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env=os.environ | (environment or {}))


def tree(folder):
    """Every file below a folder: its bytes, or what its link says."""
    return {str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()}


def records(text):
    """What metrics.jsonl says, but for times and memory."""
    measured = {"seconds", "step_seconds", "tokens_per_second", "peak_bytes", "rss_bytes", "eval_seconds", "memory"}
    return [{key: value for key, value in json.loads(line).items() if key not in measured} for line in text.splitlines()]


def trained(run):
    """What a finished run must have made, whatever came in between."""
    made = {"metrics": records((run / "metrics.jsonl").read_text()), "recipe": (run / "recipe.yaml").read_text()}
    for name in ("final", "checkpoints/step-2", "checkpoints/step-4"):
        made |= {f"{name}/{file}": data for file, data in tree(run / name).items() if not file.endswith("state.json")}
    latest = run / "checkpoints/latest"
    made["latest"] = os.readlink(latest) if latest.is_symlink() else latest.read_text().strip()
    return made


def check_checkpoints(run):
    """Every checkpoint that has its name is whole: each file has the size and checksum that state.json says."""
    for folder in (run / "checkpoints").glob("step-*[0-9]"):
        for name, entry in json.loads((folder / "trainer/state.json").read_text())["files"].items():
            data = (folder / name).read_bytes()
            assert len(data) == entry["bytes"] and zlib.crc32(data) == entry["crc32"], f"{folder.name}/{name} is not whole"


@dataclasses.dataclass
class Scenario:
    before: pathlib.Path  # a folder that is copied to World.folder
    command: list
    result: object = None  # what the command leaves, undisturbed


class World:
    """The folder in which calls fail (`folder`), what lies outside of it, and what is done in it."""

    def __init__(self, root):
        self.root = pathlib.Path(os.path.realpath(root))
        self.folder, self.inputs = self.root / "world", self.root / "inputs"
        self.inputs.mkdir(parents=True)
        rng = random.Random(3)
        for name in ("old", "new"):
            lines = [json.dumps({"text": "".join(rng.choice("abcde ") for _ in range(60))}) for _ in range(12)]
            (self.inputs / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        (self.inputs / "model.json").write_text(json.dumps(TINY))
        self.scenarios = {}
        self.prepare_scenarios()

    def keep(self, name, command):
        """The present folder is where a scenario begins."""
        before = self.root / "before" / name
        shutil.copytree(self.folder, before, symlinks=True)
        self.scenarios[name] = Scenario(before, command)

    def restore(self, scenario):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(scenario.before, self.folder, symlinks=True)

    def prepare(self, name):
        return ["prepare", self.inputs / f"{name}.jsonl", "--tokenizer", "bytes", "--out", self.folder / "corpus",
                "--validation", "0.2", "--workers", "1"]

    def prepare_scenarios(self):
        run, folder = self.folder / "run", self.folder
        folder.mkdir()
        self.keep("prepare", self.prepare("old"))
        self.well(self.prepare("old"))
        self.keep("replace", self.prepare("new"))
        recipe = self.inputs / "recipe.yaml"
        recipe.write_text(RECIPE.format(inputs=self.inputs, folder=folder, run=run))
        self.keep("train", ["train", recipe])
        self.well(["train", recipe])
        finished = self.root / "finished"
        shutil.copytree(folder, finished, symlinks=True)
        # As a kill right before the last checkpoint leaves it.
        shutil.rmtree(run / "checkpoints/step-4")
        shutil.rmtree(run / "final")
        (run / "checkpoints/latest").unlink()
        (run / "checkpoints/latest").symlink_to("step-2")
        self.keep("resume", ["train", recipe])
        shutil.rmtree(folder)
        shutil.copytree(finished, folder, symlinks=True)
        shutil.copytree(run, folder / "other", symlinks=True)
        (folder / "page.html").write_text("the old page")
        self.keep("compare", ["compare", run, folder / "other", "--html", folder / "page.html"])
        for scenario in self.scenarios.values():
            self.restore(scenario)
            self.well(scenario.command)
            scenario.result = self.outcome(scenario)

    def well(self, command, environment=None):
        done = accordion(*command, environment=environment)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done

    def outcome(self, scenario):
        kind = scenario.command[0]
        if kind == "prepare":
            return tree(self.folder / "corpus")
        return trained(self.folder / "run") if kind == "train" else (self.folder / "page.html").read_text()

    def calls(self, name):
        """The calls of an undisturbed run, in order: (call, path)."""
        self.restore(self.scenarios[name])
        return self.calls_here(self.scenarios[name].command)

    def calls_here(self, command):
        """The same for a command in the folder as it is, and as it is again afterwards."""
        log, saved = self.root / "log", self.root / "saved"
        log.unlink(missing_ok=True)
        shutil.copytree(self.folder, saved, symlinks=True)
        self.well(command, self.environment("*", 0, 0) | {"FAULT_LOG": str(log)})
        shutil.rmtree(self.folder)
        saved.rename(self.folder)
        return [tuple(line.split(" ", 1)) for line in log.read_text().splitlines()]

    def environment(self, call, number, error):
        return {"LD_PRELOAD": str(pathlib.Path(SHIM).resolve()), "FAULT_UNDER": str(self.folder), "FAULT_CALL": call,
                "FAULT_NTH": str(number), "FAULT_ERRNO": str(error)}

    def check_whole(self, scenario):
        """What was good before is good, or the new one stands in its place."""
        kind = scenario.command[0]
        if kind == "prepare":
            corpus = self.folder / "corpus"
            old = tree(scenario.before / "corpus") if (scenario.before / "corpus").exists() else None
            found = tree(corpus) if corpus.exists() else None
            if found:
                found.pop(".accordion-partial", None)  # a kill right after the exchange
            assert found in (old, scenario.result), "the corpus is neither the old one nor the new one"
        elif kind == "compare":
            assert (self.folder / "page.html").read_text() in ("the old page", scenario.result), "the page is torn"
        else:
            metrics = self.folder / "run/metrics.jsonl"
            text = metrics.read_text() if metrics.exists() else ""
            found, all_records = records(text[:text.rfind("\n") + 1]), scenario.result["metrics"]
            assert found == all_records[:len(found)], "metrics.jsonl is no beginning of the undisturbed one"
            check_checkpoints(self.folder / "run")
            if (scenario.before / "run").exists():
                assert any((self.folder / "run/checkpoints").glob("step-*[0-9]")), "the checkpoint is gone"

    def leftovers(self):
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")
                if path.name.endswith((".partial", ".replaced", ".lock", "-partial"))]

    def try_case(self, name, call, number, error):
        """Raises AssertionError where anything of the promise above is broken."""
        scenario = self.scenarios[name]
        self.restore(scenario)
        done = accordion(*scenario.command, environment=self.environment(call, number, error))
        said = [line for line in done.stderr.splitlines() if not line.startswith(("note: ", "wrote ", "warning: "))]
        if error == KILL:
            assert done.returncode in (0, -9), f"exit {done.returncode}: {done.stderr}"
        elif error == TERM:
            assert done.returncode in (0, 143), f"exit {done.returncode}: {done.stderr}"
            assert scenario.command[0] == "train" or not self.leftovers(), f"left behind: {self.leftovers()}"
        elif error == errno.EINTR:
            assert done.returncode == 0, f"an interrupted call ended it: exit {done.returncode}: {done.stderr}"
        else:
            assert done.returncode in (0, 2), f"exit {done.returncode}: {done.stderr}"
        if done.returncode == 2:
            assert len(said) == 1 and said[0].startswith("error: "), f"not one line: {done.stderr!r}"
        self.check_whole(scenario)
        if done.returncode == 0:
            assert self.outcome(scenario) == scenario.result, "it went on to another result"
        self.well(scenario.command)
        assert self.outcome(scenario) == scenario.result, "a rerun gives another result"
        assert not self.leftovers(), f"left behind: {self.leftovers()}"


def distinct(calls, every=False):
    """(call, its number among calls of that name, path) of the first call of each kind on each kind of path, or of all."""
    numbers, found, known = collections.Counter(), [], set()
    for call, path in calls:
        numbers[call] += 1
        kind = (call, re.sub(r"events\.out\.\S*|\d+", "N", path))
        if every or kind not in known:
            known.add(kind)
            found.append((call, numbers[call], path))
    return found


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="prepare, replace, train, resume, compare; default: all")
    parser.add_argument("--sample", type=int, help="so many cases of each scenario, drawn at random (seeded), instead of all")
    options = parser.parse_args(arguments)
    start, tried, bad = time.time(), 0, 0
    with tempfile.TemporaryDirectory() as root:
        world = World(pathlib.Path(root) / "faults")
        for name in options.scenarios or world.scenarios:
            # Calls that repeat on one file (a stat of a folder, the lines of a log) are alike: the first, second and last of them.
            cases = thinned([(*call, error) for call in distinct(world.calls(name), every=True) for error in ERRORS])
            if options.sample and options.sample < len(cases):
                cases = random.Random(name).sample(cases, options.sample)
            for call, number, path, error in cases:
                tried += 1
                try:
                    world.try_case(name, call, number, error)
                except AssertionError as wrong:
                    bad += 1
                    print(f"{name}: {call} {number} ({path}) {name_of(error)}: {wrong}", flush=True)
            print(f"{name}: {tried} cases so far, {bad} bad, {time.time() - start:.0f} s", flush=True)
    return 1 if bad else 0


def thinned(cases):
    places = collections.defaultdict(list)
    for call, number, path, error in cases:
        places[call, path, error].append(number)
    return [(call, number, path, error) for (call, path, error), numbers in places.items()
            for number in sorted({numbers[0], numbers[min(1, len(numbers) - 1)], numbers[-1]})]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
