"""A person's mistakes: each is answered with exit code 2 and one line that says where it is and what to do."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# What the recipe says, what the command line adds, and what the answer must contain.
RECIPES = [
    ("misspelt key", "length_schedule:\n  segmets: []", [], "recipe.yaml:2:3: length_schedule.segmets: unknown key; did you mean 'segments'?"),
    ("misspelt section", "lenght_schedule: {length: 8}", [], "recipe.yaml:1:1: lenght_schedule: unknown key; did you mean 'length_schedule'?"),
    ("key written twice", "seed: 1\nmodel: models/demo.json\nseed: 2", [], "recipe.yaml:3:1: seed: written twice"),
    ("word for a number", "batch: {tokens: lots}", [], "recipe.yaml:1:17: batch.tokens: must be a whole number such as 1024, 16k or 20e6, not 'lots'"),
    ("broken number", "batch: {tokens: 1.5}", [], "batch.tokens: must be a whole number"),
    ("number out of range", "optimizer: {lr: -1}", [], "recipe.yaml:1:17: optimizer.lr: must be at least 0, not -1"),
    ("misspelt value", "lr_schedule: {kind: cosin}", [], "lr_schedule.kind: unknown value 'cosin'; did you mean 'cosine'?"),
    ("yes for true", "data: {shuffle: yes}", [], "data.shuffle: must be true or false, not 'yes'"),
    ("section as a number", "budget: 20e6", [], "budget: must be a section of keys such as {steps: ...}, not '20e6'"),
    ("text that is no YAML", "model: [a", [], "recipe.yaml:2:1: not valid YAML"),
    ("list as a recipe", "- model", [], "recipe.yaml: a recipe is a map of keys"),
    ("batch below one row", "batch: {tokens: 512}", [], "batch.tokens: 512 is less than one row of max_length; raise it to 1024 or more"),
    ("both kinds of batch", "batch: {tokens: 16k, sequences: 4}", [], "batch.sequences: would be ignored with policy constant_tokens"),
    ("both kinds of schedule", "length_schedule: {length: 8, segments: [{length: 16}]}", [], "keep one of the two"),
    ("segments out of order", "length_schedule: {segments: [{length: 8, until: 0.5}, {length: 16, until: 0.3}, {length: 32}]}", [],
     "length_schedule.segments.1.until: 0.3 lies before the end of the segment before (0.5); put segments in order"),
    ("schedule ends too early", "length_schedule: {segments: [{length: 8, until: 0.9}]}", [], "the last segment must reach the end of the run; write until: end"),
    ("per cent for a share", "length_schedule: {segments: [{length: 8, until: 75}, {length: 16}]}", [], "must be within 0..1 with progress: fraction, not 75"),
    ("ramp without a form", "length_schedule: {segments: [{from: 8, to: 16}]}", [], "name its form, such as ramp: linear"),
    ("segment beyond the longest", "length_schedule: {max_length: 64, segments: [{length: 128}]}", [], "raise length_schedule.max_length or shorten it"),
    ("decay that misreads varying steps", "batch: {sequences: 4, policy: constant_sequences}\nlr_schedule: {decay_by: steps}", [],
     "lr_schedule.decay_by: must be tokens where tokens per step vary"),
    ("no budget", "budget: {}", [], "budget: must name at least one of steps, tokens, seconds, epochs"),
    ("a technique that would be ignored", "memory: {mini_sequence: {attention: auto}}", [], "memory.mini_sequence.attention: would be ignored without memory.recompute: layer"),
    ("a method not built yet", "length_schedule: {apply: window}", [], "length_schedule.apply: window is not available yet; use reshape or truncate"),
    ("evaluation of less than a row", "evaluation: {tokens: 100}", [], "evaluation.tokens: 100 is less than one row"),
    ("misspelt override", "", ["optimiser.lr=1"], "command line: optimiser: unknown key; did you mean 'optimizer'?"),
    ("override without a value", "", ["optimizer.lr"], "command line: 'optimizer.lr' is not key=value; write for example optimizer.lr=3e-4"),
    ("override of no element", "length_schedule: {segments: [{length: 8}]}", ["length_schedule.segments.2.length=8"],
     "command line: length_schedule.segments.2.length: the list has no element '2'; its elements are numbered from 0 to 0"),
    ("override out of range", "", ["batch.tokens=0"], "command line: batch.tokens: must be at least 1, not 0"),
    ("unknown model", "model: models/pythia-70n.json", [], "pythia-70n"),
    ("more positions than the model has", "model: models/gpt2-124m.json\nlength_schedule: {length: 2048}", [],
     "model models/gpt2-124m.json: its table has 1024 positions, but rows of 2048 are asked for"),
]


def answer(*arguments):
    """What the program says to a mistake: exit code 2, nothing on standard output, one line on standard error."""
    done = subprocess.run([os.environ["ACCORDION"], *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("text, overrides, says", [case[1:] for case in RECIPES], ids=[case[0] for case in RECIPES])
def test_recipe(tmp_path, text, overrides, says):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text + "\n")
    assert says in answer("plan", recipe, *overrides)


def test_missing_recipe():
    assert "/nonexistent.yaml" in answer("plan", "/nonexistent.yaml")


def test_no_recipe():
    answer("plan")


def test_memory_that_runs_out():
    """The weights of llama-2-7b in f32 take 27 GB of addresses; the process may have 20, libtorch's included."""
    step = "--threads 2 bench step models/llama-2-7b.json --precision f32 --length 8 --steps 1"
    command = f"ulimit -v 20000000; exec {os.environ['ACCORDION']} {step}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: out of memory: a tensor of ") and "accordion plan" in done.stderr
