#!/usr/bin/env python3
"""Puts deliberate faults into the sources, one at a time, and looks whether the tests notice: the tests' own test.

    tests/tools/mutations.py [FAULT...]     all, or those whose name contains one of the words; --list names them
    tests/tools/mutations.py --near         only the tests of the fault's own folder, which is quick

Each fault is a text of a file and what replaces it. The build folder is build-dev, as `./dev test` leaves it. Tests run from the
nearest to the farthest and stop at the first that fails. Sources are restored afterwards, at Ctrl-C too. Exit 1 where one passes
unnoticed: a test is missing.
"""

import argparse
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build-dev"
QUICK, SLOW = ["base", "schedule", "recipe", "data", "report", "memory", "eval", "train"], ["bench", "model", "op"]  # tests/
ENDLESS = 1800  # seconds: a test that takes longer has noticed
FAULTS = {}


def fault(name, file, before, after):
    FAULTS[name] = (file, before, after)


fault("op: rows that do not count keep their hidden state as gradient", "op/head_loss.cpp",
      "if (gathered && overwrites) {", "if (gathered && overwrites && false) {")
fault("op: the head's gradient is not scaled by the incoming one", "op/head_loss.cpp",
      "(factor == 1 ? dhidden : dhidden * factor)", "dhidden")
fault("op: label smoothing is forgotten at the target", "op/cpu/loss.cpp",
      "grown - spread - (1 - form.label_smoothing)) * (1 - flat * flat)", "grown - (1 - form.label_smoothing)) * (1 - flat * flat)")
fault("op: a window is one key wider", "op/attention.cpp", "t + S - T - form.window + 1)", "t + S - T - form.window)")
fault("op: a gradient is taken over that somebody else holds", "op/gradient.cpp", "constexpr size_t kAutograds = 2;",
      "constexpr size_t kAutograds = 3;")
fault("op: a rotation back overwrites a shared gradient", "op/rotary.cpp", "turn(take_over(gradients), saved[0]", "turn(gradients[0], saved[0]")
fault("op: AdamW's epsilon within the correction", "op/cpu/update.cpp",
      "hn::MulAdd(hn::Sqrt(v), set(f.root_correction), set(f.epsilon))",
      "hn::Mul(hn::Add(hn::Sqrt(v), set(f.epsilon)), set(f.root_correction))")
fault("op: the last columns of AdamW keep their bf16 copy", "op/cpu/update.cpp",
      "if (weight != nullptr) store_some(w, weight + i, n);", "")
fault("op: padding gets a gradient where a weight has no main gradient", "op/linear.cpp", "if (padding >= 0) dweight[padding].zero_();", "")
fault("op: keys of a chunk are read from a place that is not aligned", "op/attention_chunk.cpp",
      "cpu::rounded_down(first[0][begin].item<int64_t>())", "first[0][begin].item<int64_t>()")

fault("memory: bytes are given back to the kind of the moment", "memory/meter.cpp",
      "by_kind_[static_cast<size_t>(kind)].fetch_sub(bytes);", "by_kind_[static_cast<size_t>(bytes < 0 ? kind : kind_.load())].fetch_sub(bytes);")
fault("memory: a new step's peaks begin at nothing", "memory/meter.cpp", "  raise(current.load());\n}\n\nKindScope", "}\n\nKindScope")
fault("memory: the kept attention of the first row serves all rows", "memory/fold.cpp", "kept[size_t(b)]->lse", "kept[0]->lse")
fault("memory: a fold overwrites a gradient that somebody else holds", "memory/fold.cpp",
      "variable_list results{op::take_over(gradients)};", "variable_list results{gradients[0].contiguous()};")
fault("memory: the places of a file overlap", "memory/disk.cpp", "if (begin - offset >= bytes) break;", "if (begin > offset) break;")

fault("model: all layers have the first one's window", "model/transformer.cpp",
      "form.window = config_.window_of(static_cast<int64_t>(l));\n  torch::Tensor y", "form.window = config_.window_of(0);\n  torch::Tensor y")
fault("model: GPT-2's residual projections begin too wide", "model/transformer.cpp",
      "std::sqrt(2.0 * static_cast<double>(config_.layers))", "std::sqrt(static_cast<double>(config_.layers))")
fault("model: the padding row is not zero at the start", "model/transformer.cpp",
      "if (name == \"embedding.weight\" && config_.pad >= 0) weight[config_.pad].zero_();", "")
fault("model: a cache forgets what it held when it grows", "model/transformer.cpp",
      "if (length > 0) larger.narrow(1, 0, length).copy_(held.narrow(1, 0, length));",
      "if (length > 0) larger.narrow(1, 0, length - 1).copy_(held.narrow(1, 0, length - 1));")
fault("model: folded rows all turn by the first row's positions", "model/transformer.cpp",
      "all.dim() == 2 ? all[chunk.row_number] : all;", "all.dim() == 2 ? all[0] : all;")

fault("train: clipping without its epsilon", "train/optimizer.cpp", "recipe_.clip / (norm + 1e-6)", "recipe_.clip / norm")
fault("train: gradients of a step that is skipped stay", "train/step.cpp",
      "  } else {\n    optimizer_.zero_gradients();\n", "  } else {\n")
fault("train: one checkpoint more is kept", "train/checkpoint.cpp", "i = static_cast<size_t>(keep_);", "i = static_cast<size_t>(keep_) + 1;")
fault("train: a checkpoint does not know of the evaluation", "train/trainer.cpp", "  saved_step_ = -1;  //", "  //")
fault("train: skipped steps are counted over the whole run", "train/trainer.cpp",
      "result.finite() ? 0 : skipped_in_a_row_ + 1;", "result.finite() ? skipped_in_a_row_ : skipped_in_a_row_ + 1;")
fault("train: rows that were read ahead in vain are lost", "train/stream.cpp", "  source.loader.restore(source.cursor);\n  ahead_.reset();",
      "  source.cursor = source.loader.cursor();\n  ahead_.reset();")
fault("train: each group of weights counts as a step", "train/layerwise.cpp", "if (update && !std::exchange(begun_, true))", "if (update)")
fault("train: an optimizer state in another order is taken", "train/optimizer.cpp", "state[i].first != mine[i].first ||", "")

fault("data: preserve_eos also where nothing is cut", "data/loader.cpp", "if (!tail.empty() && eos >= 0)", "if (eos >= 0)")
fault("data: sources of one size are visited in step", "data/loader.cpp", "seed + static_cast<int64_t>(feed) * 1000003,", "seed,")
fault("data: an epoch begins a token early", "data/loader.cpp", "batch.epoch = state.epoch_of(place.read - 1);",
      "batch.epoch = state.epoch_of(place.read);")
fault("data: the hash keeps a document that was moved", "data/corpus.cpp", "  hash_ = hash_before_last_;\n}", "}")
fault("data: a document of the threshold's length is short", "data/prepare.cpp",
      "if (static_cast<int64_t>(held_.size()) < threshold_) return;", "if (static_cast<int64_t>(held_.size()) <= threshold_) return;")
fault("data: words of one place in the cache are taken for each other", "data/bpe.cpp",
      " || std::memcmp(slot.word.data(), word.data(), word.size()) != 0) return false;", ") return false;")
fault("data: validation documents are the first of each stratum", "data/prepare.cpp", "static_cast<double>(mix(stratum) >> 11) * 0x1p-53", "0.0")
fault("data: fused unknown characters stay fused across a known one", "data/bpe.cpp", "      add(found->second);\n      fuse = false;",
      "      add(found->second);")

fault("eval: a microbatch restarts positions as the first one does", "eval/loss_by_length.cpp",
      "for (int64_t row = first; row < first + count; ++row)", "for (int64_t row = 0; row < count; ++row)")
fault("eval: logits are not capped", "eval/loss_by_length.cpp", "                          .soft_cap = model.config().final_soft_cap};",
      "                          .soft_cap = 0};")
fault("eval: top-p leaves out the token that reaches it", "eval/generate.cpp", "sorted.cumsum(0) - sorted;", "sorted.cumsum(0);")
fault("eval: generation does not cap logits", "eval/generate.cpp", "    op::soft_cap_logits(logits, config.final_soft_cap);\n", "")
fault("eval: rows that do not fill a batch are cut off", "data/loader.cpp", "std::clamp<int64_t>((tokens - at) / length, 1, rows)",
      "std::min<int64_t>((tokens - at) / length + 1, rows)")

fault("schedule: evaluate after counts as before", "schedule/length.cpp", "static_cast<double>(counters.steps + after);",
      "static_cast<double>(counters.steps);")
fault("schedule: rewarmup begins a step late", "schedule/learning_rate.cpp", "counters.steps - counters.changed + 1;",
      "counters.steps - counters.changed;")
fault("schedule: decay by tokens forgets those of the warmup", "schedule/learning_rate.cpp", ".tokens = counters.warmup_tokens,", ".tokens = 0,")
fault("schedule: a window's cost is the whole row's", "schedule/flops.cpp", "s - (s - w) * (s - w) / s;", "s;")
fault("schedule: other cycles may be resumed", "schedule/resume.cpp", "was.cycles != is.cycles || ", "")
fault("schedule: a count of mini-sequences makes one more", "schedule/chunk.cpp", "return (tokens + form.amount - 1) / form.amount;",
      "return std::max<int64_t>(1, tokens / form.amount);")
fault("schedule: microbatches are as large as may be, not even", "schedule/length.cpp", "return (rows + passes - 1) / passes;",
      "return passes > 1 ? most : rows;")

fault("report: a thinned curve shows the last loss, not the mean", "report/comparison.cpp",
      "means.back().loss = finite > 0 ? sum / static_cast<double>(finite) : std::numeric_limits<double>::quiet_NaN();", "")
fault("report: two event files of one second", "report/event_file.cpp", "name.c_str() + prefix.size()) + 1);", "name.c_str() + prefix.size()));")
fault("report: a resumed log keeps an evaluation that is made again", "report/run_log.cpp",
      "!is_to_come(at, step, std::atoll(line.c_str() + place + evaluated.size())));",
      "!is_to_come(at, step - 1, std::atoll(line.c_str() + place + evaluated.size())));")
fault("report: the plan forgets the f32 gradients of a row's keys", "report/memory_pass.cpp",
      "const double sums = 2 * 4 / b_.element * padded(T_) * b_.keys;", "const double sums = 0;")
fault("report: a line of progress is one cell too wide", "report/progress.cpp", "seen++ == width) break;", "seen++ == width + 1) break;")
fault("report: a comparison's curve loses the turns of length", "report/comparison.cpp",
      "if (i == 0 || i + 1 == steps.size() || steps[i].length != steps[i - 1].length) kept", "if (i == 0 || i + 1 == steps.size()) kept")
fault("report: the memory page names kinds in another order", "train/timeline.cpp",
      "report_.peak.assign(top.bytes.begin(), top.bytes.end());", "report_.peak.assign(top.bytes.rbegin(), top.bytes.rend());")


def succeeds(command, log):
    with log.open("a") as out:
        out.write(f"\n# {' '.join(map(str, command))}\n")
        out.flush()
        try:
            return subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, timeout=ENDLESS).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def stages(folder, near):
    """What to build, how to test it and what to call that, from the nearest tests to the farthest."""
    def program(of):
        return f"test_{of}", [BUILD / f"tests/test_{of}", "--gtest_fail_fast", "--gtest_brief=1"], f"test_{of}"
    yield program(folder)
    if near:
        return
    yield from (program(other) for other in QUICK if other != folder)
    # Those of the tree itself would notice that a line is not formatted.
    yield "all", ["ctest", "--preset", "dev", "--label-regex", "python", "--exclude-regex", "test_(sources|documents|library)",
                  "--stop-on-failure"], "the tests in Python"
    yield from (program(other) for other in SLOW if other != folder)


def notices(folder, near, log):
    """The first tests that fail, or None."""
    for target, command, name in stages(folder, near):
        if not succeeds(["ninja", "-C", BUILD, target], log):
            return "the compiler"
        if not succeeds(command, log):
            return name
    return None


def source_of(name):
    """The file's path and text; ends the program where the fault has no place in it."""
    file, before, _ = FAULTS[name]
    path = ROOT / "src" / file
    source = path.read_text()
    if source.count(before) != 1:
        raise SystemExit(f"{file}: {source.count(before)} places for '{name}'; the code changed, so change the fault too")
    return path, source


def try_fault(name, near, logs):
    file, before, after = FAULTS[name]
    path, source = source_of(name)
    log = logs / (name.replace(": ", "-").replace(" ", "-") + ".log")
    log.write_text(f"{file}: {before!r} -> {after!r}\n")
    try:
        path.write_text(source.replace(before, after))
        return notices(file.split("/")[0], near, log)
    finally:
        path.write_text(source)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="words of a fault's name; all without")
    parser.add_argument("--near", action="store_true", help="only the tests of the fault's own folder")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--logs", type=pathlib.Path, default=BUILD / "mutations", help="where the tests' output goes")
    arguments = parser.parse_args()
    chosen = [name for name in FAULTS if not arguments.faults or any(word in name for word in arguments.faults)]
    if arguments.list:
        print("\n".join(chosen))
        return 0
    for name in chosen:
        source_of(name)
    arguments.logs.mkdir(parents=True, exist_ok=True)
    unnoticed = 0
    for name in chosen:
        start = time.monotonic()
        found = try_fault(name, arguments.near, arguments.logs)
        unnoticed += found is None
        print(f"{name} | {found or 'UNNOTICED'} | {time.monotonic() - start:.0f} s", flush=True)
    print(f"{len(chosen)} faults, {unnoticed} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
