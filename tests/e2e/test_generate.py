"""`accordion generate` with a model that a short run has trained on text that repeats itself."""

import pytest

from e2e.tiny import make, run

RECIPE = """\
model: {folder}/model.json
run: {folder}/run
data: {{train: {folder}/corpus}}
budget: {{steps: 60}}
batch: {{tokens: 512}}
length_schedule: {{length: 64}}
optimizer: {{lr: 1e-2}}
lr_schedule: {{warmup: {{steps: 5}}}}
precision: f32
evaluation: {{tokens: 64}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    run("train", make(folder, RECIPE))
    return folder / "run"


def test_greedy_text_goes_on_from_the_prompt(trained):
    first = run("generate", trained, "--prompt", "abc", "--max-tokens", 40, "--temperature", 0).stdout
    assert first.startswith("abc") and len(first) > 4
    assert first == run("generate", trained / "final", "--prompt", "abc", "--max-tokens", 40, "--temperature", 0, "--seed", 9).stdout


def test_draws_follow_the_seed(trained):
    def text(seed, *options):
        return run("generate", trained, "--prompt", "ab é", "--max-tokens", 60, "--seed", seed, *options).stdout

    assert text(1) == text(1) != text(2)
    assert text(1, "--top-p", "1e-6") == text(2, "--temperature", 0)


def test_bf16(trained):
    assert run("generate", trained, "--prompt", "abc", "--max-tokens", 5, "precision=bf16").stdout.startswith("abc")


@pytest.mark.parametrize("arguments, says", [
    (["--prompt", ""], "--prompt is empty"),
    ([], "--prompt"),
    (["--prompt", "a", "--top-p", "2"], "--top-p"),
    (["--prompt", "a", "--temperature", "-1"], "--temperature"),
    (["--prompt", "a", "--max-tokens", "0"], "--max-tokens"),
    (["--prompt", "a", "seed=3"], "seed"),
])
def test_mistakes(trained, arguments, says):
    done = run("generate", trained, *arguments, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_a_model_without_a_tokenizer_is_refused(trained):
    done = run("generate", "pythia-14m", "--prompt", "a", check=False)
    assert done.returncode == 2 and "tokenizer" in done.stderr and done.stderr.count("\n") == 1
