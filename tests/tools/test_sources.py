"""What every source file of the tree keeps: the order of includes, the format, a readable size."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Each folder of src/ may include itself and the folders before it. The description of a model (model/config*.h) is plain
# numbers, so it stands lower than the rest of its folder.
ORDER = ["base", "model/config", "recipe", "schedule", "op", "memory", "data", "model", "report", "eval", "train",
         "bench", "command"]
# The library without tensors is closed: its folders include only each other.
CORE = {"base", "model/config", "recipe", "schedule", "data", "report"}


def files(*suffixes, below=("src", "tests", "bench", "examples", "tools")):
    return sorted(path for name in below for path in (ROOT / name).rglob("*") if path.suffix in suffixes)


def folder(path):
    """The part of the house a file belongs to: src/op/cpu/dot.h -> op."""
    return "model/config" if path.startswith("model/config") else path.split("/")[0]


def test_includes_point_one_way():
    wrong = []
    for path in files(".h", ".cpp", below=["src"]):
        name = path.relative_to(ROOT / "src").as_posix()
        mine = folder(name)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "([^"]+)"', line)
            if not match or mine == "main.cpp":
                continue
            theirs = folder(match.group(1))
            upward = theirs not in ORDER or ORDER.index(theirs) > ORDER.index(mine)
            if upward or (mine in CORE and theirs not in CORE):
                wrong.append(f'src/{name}:{number}: {mine} may not include "{match.group(1)}"')
    assert not wrong, "\n".join(wrong)


def test_what_throws_on_odd_paths_and_bytes_stays_in_base():
    """std::filesystem's throwing calls know no interrupted call and no UserError, and dump() no bytes that are not UTF-8."""
    throwing = re.compile(r"fs::(exists|is_\w+|file_size|canonical|weakly_canonical|absolute|relative|remove\w*|rename|create_\w+|status|"
                          r"directory_iterator|recursive_directory_iterator|resize_file|copy\w*|read_symlink)\(|std::filesystem::exists|"
                          r"\.dump\(")
    wrong = [f"src/{path.relative_to(ROOT / 'src')}:{number}: {line.strip()}" for path in files(".h", ".cpp", below=["src"])
             if folder(path.relative_to(ROOT / "src").as_posix()) != "base"
             for number, line in enumerate(path.read_text().splitlines(), 1) if throwing.search(line) and "error)" not in line]
    assert not wrong, "call base/paths.h, base/files.h, base/json.h instead:\n" + "\n".join(wrong)


def test_sources_are_formatted():
    program = pathlib.Path(sys.executable).parent / "clang-format"
    result = subprocess.run([program, "--dry-run", "-Werror", *files(".h", ".cpp")], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, "run `./dev format`\n" + result.stderr[:4000]


def test_sources_are_short():
    long = [f"{path.relative_to(ROOT)}: {lines} lines" for path in [ROOT / "dev", *files(".h", ".cpp", ".py", ".sh")]
            if (lines := len(path.read_text().splitlines())) > 400]
    assert not long, "split what has more than 400 lines:\n" + "\n".join(long)


def test_scripts_pass_shellcheck():
    result = subprocess.run(["shellcheck", "dev", ".ci/run", *files(".sh")], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
