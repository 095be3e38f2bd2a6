#!/usr/bin/env python3
"""Fills the tables of figures in the documents from bench/results. A table stands between the lines

    <!-- results: NAME -->
    <!-- end of results -->

and is made of bench/results/NAME.json (see bench/results.py). With --check, nothing is written; the exit status says whether
every table is current.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLACE = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end of results -->)", re.S)


def table(name):
    path = ROOT / "bench/results" / (name + ".json")
    if not path.exists():
        sys.exit(f"a document shows bench/results/{name}.json, which is not there; measure it first")
    result = json.loads(path.read_text())
    lines = [result["columns"], ["---"] * len(result["columns"]), *result["rows"]]
    text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
    return f"{text}\n\nMeasured by `{result['command']}` on {result['machine']}; commit {result['commit']}, {result['date']}.\n"


def main():
    stale = []
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        text = path.read_text()
        filled = PLACE.sub(lambda match: match[1] + table(match[2]) + match[3], text)
        if filled != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                path.write_text(filled)
    if stale and "--check" in sys.argv:
        sys.exit("tables that are not those of bench/results: " + ", ".join(stale) + "; run `./dev documents`")


main()
