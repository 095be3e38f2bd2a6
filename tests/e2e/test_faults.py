"""A sample of the faults of e2e/faults.py, and file systems that lack what POSIX lets them lack."""

import errno
import os
import random

import pytest

from e2e.faults import ERRORS, World, accordion, distinct, name_of, tree

SAMPLE = 5  # of each scenario


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("faults") / "faults")


@pytest.mark.parametrize("name", ["prepare", "replace", "train", "resume", "compare"])
def test_a_call_that_fails(world, name):
    rng = random.Random(name)
    cases = [(call, number, error) for call, number, _ in distinct(world.calls(name)) for error in ERRORS]
    assert len(cases) > 50, "the shim sees too little"
    wrong = []
    for call, number, error in rng.sample(cases, SAMPLE):
        try:
            world.try_case(name, call, number, error)
        except AssertionError as failed:
            wrong.append(f"{call} {number} {name_of(error)}: {failed}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name, call, error", [
    ("replace", "renameat2", errno.EINVAL), ("train", "symlink", errno.EPERM), ("resume", "symlink", errno.EINVAL),
    ("resume", "mmap", errno.ENODEV), ("train", "fsync", errno.EINVAL), ("train", "flock", errno.ENOLCK), ("replace", "flock", errno.ENOTSUP),
])
def test_what_a_file_system_may_lack(world, name, call, error):
    scenario = world.scenarios[name]
    world.restore(scenario)
    done = world.well(scenario.command, world.environment(call, -1, error))
    assert world.outcome(scenario) == scenario.result and not world.leftovers()
    assert done.stderr.count("has no locks") == (name == "train" and call == "flock")
    if call != "symlink":
        return
    assert (world.folder / "run/checkpoints/latest").read_text() == "step-4\n"
    world.well(["eval", world.folder / "run", "--data", world.folder / "corpus", "--lengths", "16", "--tokens", "64"])
    world.well(scenario.command)
    assert world.outcome(scenario) == scenario.result


def test_a_kill_between_the_two_moves_of_a_file_system_without_exchange(world):
    """The old corpus waits under another name; the next `prepare` brings it back before anything else, and fails."""
    scenario = world.scenarios["replace"]
    world.restore(scenario)
    corpus = world.folder / "corpus"
    os.rename(corpus, world.folder / "corpus.replaced")
    (world.folder / "corpus.replaced/.accordion-partial").touch()
    assert accordion(*scenario.command, environment=world.environment("write", 2, errno.ENOSPC)).returncode == 2
    found = tree(corpus)
    found.pop(".accordion-partial", None)
    assert found == tree(scenario.before / "corpus")
    world.well(scenario.command)
    assert tree(corpus) == scenario.result and not world.leftovers()

