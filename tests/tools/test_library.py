"""The installed library: somebody's own CMake project finds it, and the example of their own loop trains."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["ACCORDION"]).parent


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_own_loop_uses_the_installed_package(tmp_path):
    run("cmake", "--install", BUILD, "--prefix", tmp_path / "installed")
    assert run(tmp_path / "installed/bin/accordion", "--version").startswith("accordion ")

    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M).group(1)
    run("cmake", "-G", "Ninja", "-S", ROOT / "examples", "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tmp_path}/installed",
        f"-DCMAKE_CXX_COMPILER={compiler}")
    run("cmake", "--build", tmp_path / "build")

    lines = run(tmp_path / "build/own_loop", ROOT / "src/recipe/recipe.h").splitlines()
    lengths = [int(re.search(r"length +(\d+)", line).group(1)) for line in lines]
    losses = [float(line.split()[-1]) for line in lines]
    assert lengths == sorted(lengths) and lengths[0] < 64 and lengths[-1] == 256
    assert losses[-1] < 0.75 * losses[0]
