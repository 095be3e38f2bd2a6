"""The measuring commands: what they answer. Bytes are looked at, times are not."""

import json
import signal
import subprocess
import time

import pytest
from tiny import ACCORDION, MODEL, run

MEBI = 1 << 20
KEYS = {"method", "longest", "peak_bytes", "peak_rss_bytes", "step_seconds", "tokens_per_second", "activations_rss_bytes", "planned"}


BUDGET = 32 * MEBI


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Deep, with a wide MLP, so that techniques show within some tens of MiB. Rows are about as long as the automatic chunks,
    and freed memory that is kept counts too, so the techniques differ from none at all and hardly from one another."""
    path = tmp_path_factory.mktemp("model") / "model.json"
    path.write_text(json.dumps(MODEL | {"num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 1, "num_key_value_heads": 1,
                                        "intermediate_size": 512}))
    return path


def longest(model, *words):
    return json.loads(run("bench", "memory", model, "--precision", "f32", "--threads", 2, "--json", *words).stdout)


@pytest.fixture(scope="module")
def found(model):
    return longest(model, "--activations", BUDGET)


def test_each_method_trains_longer_rows(found):
    assert [entry["method"] for entry in found] == ["none", "recompute", "mini_sequence", "all"]
    for entry in found:
        assert set(entry) == KEYS
        assert entry["longest"] % 64 == 0
        assert 0 < entry["activations_rss_bytes"] <= BUDGET
        assert entry["peak_rss_bytes"] > entry["peak_bytes"] > 0
        assert entry["tokens_per_second"] == pytest.approx(entry["longest"] / entry["step_seconds"])
    none, *others = (entry["longest"] for entry in found)
    assert all(longer > 1.3 * none > 0 for longer in others)


def test_accumulation_takes_no_room_of_activations(model, found):
    four, = longest(model, "--activations", BUDGET, "--methods", "none", "--accumulate", 4)
    assert four["longest"] == pytest.approx(found[0]["longest"], rel=0.1, abs=128)
    assert four["tokens_per_second"] == pytest.approx(4 * four["longest"] / four["step_seconds"])


def test_a_budget_of_the_whole_process(model, found):
    assert longest(model, "--budget", "1MiB", "--methods", "all") == [
        {"method": "all", "longest": 0, "planned": 0, **dict.fromkeys(KEYS - {"method", "longest", "planned"})}]
    budget = found[0]["peak_rss_bytes"]
    entry, = longest(model, "--budget", budget, "--methods", "none", "memory.mini_sequence.head=256")
    assert entry["longest"] > 64 and 0.9 * budget < entry["peak_rss_bytes"] <= budget


def test_a_bound_on_what_is_tried(model, found):
    bound = found[0]["longest"] // 128 * 64 + 63
    entry, = longest(model, "--activations", BUDGET, "--methods", "none", "--up-to", bound)
    assert entry["longest"] == bound // 64 * 64 and 0 < entry["activations_rss_bytes"] < BUDGET


def test_the_most_rows_of_a_length(model, found):
    length = found[0]["longest"] // 256 * 64
    words = "--activations", BUDGET, "--methods", "none", "--length", length
    most, = longest(model, *words)
    assert set(most) == KEYS | {"rows"} and most["longest"] == length
    assert 3 <= most["rows"] <= 5 and most["activations_rss_bytes"] <= BUDGET
    assert most["tokens_per_second"] == pytest.approx(most["rows"] * length / most["step_seconds"])
    bounded, = longest(model, *words, "--up-to", 3 * length - 1)
    assert bounded["rows"] == 2 and bounded["activations_rss_bytes"] < most["activations_rss_bytes"]


def test_a_table_of_positions_bounds_the_row(tmp_path):
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 200, "vocab_size": 257}
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = run("bench", "memory", tmp_path / "config.json", "--activations", "200MiB", "--methods", "all,none")
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [["all", "192"], ["none", "192"]]
    assert "none: 192 tokens: " in done.stderr and done.stderr.count("\n") == 2


@pytest.mark.parametrize("words, says", [
    ([], "give either --budget or --activations"),
    (["--budget", "1GiB", "--activations", "1GiB"], "give either --budget or --activations"),
    (["--budget", "lots"], "--budget: 'lots' is not a size, such as 4GiB"),
    (["--activations", "0"], "--activations: '0' is not a size"),
    (["--budget", "1GiB", "--methods", "none,reocmpute"], "--methods: 'reocmpute' is not a method; did you mean 'recompute'?"),
    (["--budget", "1GiB", "--up-to", "63"], "--up-to: 63 is below the shortest row tried, 64 tokens"),
    (["--budget", "1GiB", "--up-to", "1k", "--length", "2k"], "--up-to: 1k is below one row, 2048 tokens"),
    (["--budget", "1GiB", "batch.microbatch=2"], "batch.microbatch: this command would ignore it"),
    (["--budget", "1GiB", "--precision", "f16"], "--precision: 'f16' is not a precision"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_mistakes(model, words, says):
    done = run("bench", "memory", model, *words, check=False)
    assert done.returncode == 2 and done.stdout == "", done
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_ctrl_c_ends_the_trial_too():
    process = subprocess.Popen([ACCORDION, "bench", "memory", "demo", "--activations", "2GiB", "--methods", "all"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    deadline = time.monotonic() + 30
    while not (child := open(children).read().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and output == ""
    with pytest.raises(FileNotFoundError):
        open(f"/proc/{child[0]}/status")


SIZES = ["--width", 64, "--inner", 128, "--vocabulary", 512, "--lengths", "256,1k", "--repeats", 1]


def measured(*words):
    return json.loads(run("bench", "op", *words, *SIZES, "--json").stdout)


def test_operators_by_mini_sequences():
    for name, counts in [("mlp", [1, 2, 4, 8, 16]), ("head", [1, 2, 4, 8, 16, 32])]:
        found = measured(name)
        assert (found["width"], found["inner"], found["vocabulary"], found["precision"]) == (64, 128, 512, "bf16")
        assert [(one["length"], one["mini_sequences"]) for one in found["operators"]] == [(n, m) for n in (256, 1024) for m in counts]
        for one in found["operators"]:
            assert one["op"] == name and one["seconds"] > 0 and one["peak_bytes"] > 0 and one["flops_per_second"] > 0
        bytes_of = {(one["length"], one["mini_sequences"]): one["peak_bytes"] for one in found["operators"]}
        assert bytes_of[1024, 8] < bytes_of[1024, 2] < bytes_of[1024, 1]


def test_every_operator_against_its_plain_version():
    found = measured()["operators"]
    assert {one["op"] for one in found} >= {"head", "mlp", "attention", "norm", "activation"}
    for one in found:
        assert {"op", "case", "way", "length", "seconds", "peak_bytes", "seconds_against_plain", "bytes_against_plain"} <= set(one)
        assert one["seconds_against_plain"] > 0
        if one["way"] == "plain":
            assert one["seconds_against_plain"] == 1


def test_cells_that_need_more_memory_than_there_is():
    done = run("bench", "op", "mlp", "--width", 64, "--inner", 64, "--lengths", "20e9")
    assert done.stdout.splitlines()[-2].split() == ["20,000,000,000", "-", "-", "-", "-", "-"]


def test_an_operator_that_is_none():
    done = run("bench", "op", "hed", check=False)
    assert done.returncode == 2 and "'hed' is not an operator; did you mean 'head'?" in done.stderr


def test_a_profile_accounts_for_the_step(model):
    done = run("bench", "step", model, "--length", 64, "--precision", "f32", "--steps", 1, "--profile", "--json")
    profile = json.loads(done.stdout)["profile"]
    operators = {one["name"]: one for one in profile["operators"]}
    assert {"accordion::adamw", "accordion::softmax_loss"} <= set(operators)
    assert all(one["calls"] >= 1 and one["seconds"] >= 0 for one in operators.values())
    assert sum(one["seconds"] for one in operators.values()) == pytest.approx(profile["busy"])
    assert 0 < profile["busy"] <= profile["seconds"] * 1.001 and profile["waits"] == 0
    assert done.stderr == ""
