"""Results of measurements as files: bench/results/NAME.json holds a table and where, when and how it was measured. The tables in
the documents are filled from these files by tools/fill_tables.py; nobody types figures."""

import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "bench/results"
WIDEST = [("avx512_bf16", "AVX-512 and bf16 products"), ("avx512f", "AVX-512"), ("avx2", "AVX2")]  # decides most of the speed


def run(*command):
    """The JSON document that a command prints."""
    return json.loads(subprocess.run([str(word) for word in command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def typed():
    """The command that was given, as the documents show it: without where its file went."""
    words = sys.argv[1:]
    if "--results" in words:
        at = words.index("--results")
        del words[at:at + 2]
    return shlex.join([f"bench/{pathlib.Path(sys.argv[0]).name}", *words])


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    widest = next((f" with {name}" for flag, name in WIDEST if flag in flags), "")
    return f"{len(os.sched_getaffinity(0))} cores of {model}{widest}, {memory:.0f} GiB"


def commit():
    """The commit that was measured, with a plus where the tree had changes beside it."""
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--", "src", "cmake", "CMakeLists.txt")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def write(name, command, columns, rows, folder=FOLDER, **details):
    """`details` are kept in the file beside the table, for programs."""
    path = folder / (name + ".json")
    path.parent.mkdir(exist_ok=True)
    content = {"command": command, "machine": machine(), "commit": commit(), "date": datetime.date.today().isoformat(),
               "columns": columns, "rows": rows, **details}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {os.path.relpath(path, ROOT)}")
