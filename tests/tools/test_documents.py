"""What the documents say: links lead somewhere, commands and recipes work, figures are those of bench/results."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))


def accordion(*words):
    return subprocess.run([os.environ["ACCORDION"], *words], cwd=ROOT, capture_output=True, text=True)


def test_links_lead_somewhere():
    dead = [f"{path.name}: {link}" for path in DOCUMENTS for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
            if not link.startswith("http") and not (path.parent / link).exists()]
    assert not dead, dead


def test_files_named_exist():
    named = re.compile(r"`((?:src|tests|bench|docs|tools|recipes|examples|models|cmake)/[\w./-]*)`")
    dead = [f"{path.name}: {name}" for path in DOCUMENTS for name in named.findall(path.read_text()) if not (ROOT / name).exists()]
    assert not dead, dead


def test_commands_exist():
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    tasks = subprocess.run([ROOT / "dev"], capture_output=True, text=True).stdout
    for task in set(re.findall(r"\./dev ([a-z-]+)", text)):
        assert re.search(rf"^  {task} ", tasks, re.M), f"./dev {task}"
    for command in set(re.findall(r"build/accordion ([a-z]+)", text)):
        assert accordion(command, "--help").returncode == 0, command


def test_the_recipe_explained_is_the_demo_s():
    explained = yaml.safe_load(re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1))
    recipe = yaml.safe_load((ROOT / "recipes/demo-stretched.yaml").read_text())
    assert explained == {key: recipe[key] for key in explained}


def test_tables_are_current():
    result = subprocess.run([sys.executable, ROOT / "tools/fill_tables.py", "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_can_be_planned(recipe):
    result = accordion("plan", recipe.relative_to(ROOT).as_posix())
    assert result.returncode == 0, result.stderr
