#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipe/print.h"
#include "schedule/resolve.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Recipe resolved(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return resolve(parse_recipe(text, "r.yaml", overrides));
}

std::string mistake(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    resolved(text, overrides);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Resolve, FillsInWhatDependsOnOtherKeys) {
  const auto recipe = resolved("");
  EXPECT_EQ(recipe.length_schedule.max_length, 1024);
  ASSERT_EQ(recipe.length_schedule.segments.size(), 2u);
  EXPECT_EQ(recipe.length_schedule.segments[0].length, 256);
  EXPECT_EQ(recipe.length_schedule.segments[0].until.at, 0.75);
  EXPECT_EQ(recipe.length_schedule.segments[1].length, 1024);
  EXPECT_EQ(recipe.batch.tokens, 16384);
  EXPECT_EQ(recipe.data.validation, "corpus");
  EXPECT_THAT(recipe.evaluation.lengths, ElementsAre(256, 1024));
  EXPECT_EQ(recipe.run, "runs/r");
  EXPECT_EQ(resolved("length_schedule: {length: 512}").length_schedule.max_length, 512);
  EXPECT_EQ(resolved("length_schedule: {segments: [{ramp: linear, from: 8, to: 64}]}").length_schedule.max_length, 64);
}

TEST(Resolve, TwiceChangesNothing) {
  for (const auto* text :
       {"", "length_schedule: {length: 64}", "length_schedule: {baseline: true}", "lr_schedule: {kind: constant}",
        "batch: {sequences: 4, policy: constant_sequences}\nlength_schedule: {apply: truncate, preserve_eos: "
        "true}\nbudget: {steps: 10}",
        "length_schedule: {progress: steps, evaluate: after, baseline: true, segments: [{length: 8, until: 5}, "
        "{length: 16}]}"}) {
    const auto printed = print_recipe(resolved(text));
    EXPECT_EQ(print_recipe(resolved(printed)), printed) << text;
  }
}

struct Case {
  const char* text;
  const char* message;
};

class Mistakes : public testing::TestWithParam<Case> {};

TEST_P(Mistakes, AreNamedWithTheirPlace) { EXPECT_EQ(mistake(GetParam().text), GetParam().message); }

INSTANTIATE_TEST_SUITE_P(
    Recipe, Mistakes,
    testing::Values(
        Case{"batch: {tokens: 512}",
             "r.yaml:1:17: batch.tokens: 512 is less than one row of max_length; raise it to 1024 or more"},
        Case{"batch: {sequences: 4}",
             "r.yaml:1:20: batch.sequences: would be ignored with policy constant_tokens; add policy: "
             "constant_sequences or leave it out"},
        Case{"batch: {policy: constant_sequences}",
             "r.yaml:1:17: batch.policy: constant_sequences needs batch.sequences, the rows of a step"},
        Case{"batch: {policy: constant_sequences, sequences: 4, tokens: 8}",
             "r.yaml:1:59: batch.tokens: would be ignored with policy constant_sequences; leave it out or use "
             "constant_tokens"},
        Case{"batch: {policy: fill_memory}",
             "r.yaml:1:17: batch.policy: fill_memory is not available yet; use constant_tokens or constant_sequences"},
        Case{"batch: {lr_scale: sqrt}",
             "r.yaml:1:19: batch.lr_scale: would be ignored with policy constant_tokens, where tokens per step stay "
             "the same; leave it out"},
        Case{"budget: {}", "r.yaml:1:9: budget: must name at least one of steps, tokens, seconds, epochs"},
        Case{"budget: {seconds: 0}", "r.yaml:1:19: budget.seconds: must be above 0"},
        Case{"length_schedule: {length: 8, segments: [{length: 8}]}",
             "r.yaml:1:27: length_schedule.length: makes a constant schedule beside which segments would be ignored; "
             "keep one of the two"},
        Case{"length_schedule: {apply: window}",
             "r.yaml:1:26: length_schedule.apply: window is not available yet; use reshape or truncate"},
        Case{"length_schedule: {position: yarn}",
             "r.yaml:1:29: length_schedule.position: yarn is not available yet; use keep"},
        Case{"length_schedule: {preserve_eos: true}",
             "r.yaml:1:33: length_schedule.preserve_eos: would be ignored without apply: truncate; leave it out or add "
             "that"},
        Case{"length_schedule: {evaluate: after}",
             "r.yaml:1:29: length_schedule.evaluate: after needs progress: steps; tokens and seconds after a step are "
             "not known before it"},
        Case{"length_schedule: {progress: steps}",
             "r.yaml:1:18: length_schedule: needs `length` or `segments`: default segments go by progress: fraction"},
        Case{"length_schedule: {segments: [{length: 8, until: 0.5}, {length: 16, until: 0.9}]}",
             "r.yaml:1:75: length_schedule.segments.1.until: the last segment must reach the end of the run; write "
             "until: end"},
        Case{"length_schedule: {segments: [{length: 8, until: 0.5}, {length: 16, until: 0.4}, {length: 32}]}",
             "r.yaml:1:75: length_schedule.segments.1.until: 0.4 lies before the end of the segment before (0.5); put "
             "segments in order"},
        Case{"length_schedule: {segments: [{length: 8}, {length: 16}]}",
             "r.yaml:1:30: length_schedule.segments.0.until: only the last segment runs until the end; say in fraction "
             "where this one ends"},
        Case{"length_schedule: {segments: [{length: 8, until: 75}, {length: 16}]}",
             "r.yaml:1:49: length_schedule.segments.0.until: must be within 0..1 with progress: fraction, not 75"},
        Case{"length_schedule: {max_length: 16, segments: [{length: 32}]}",
             "r.yaml:1:55: length_schedule.segments.0.length: 32 is longer than max_length; raise "
             "length_schedule.max_length or shorten it"},
        Case{"length_schedule: {segments: [{from: 8, to: 16}]}",
             "r.yaml:1:30: length_schedule.segments.0: `from` and `to` make a ramp; name its form, such as ramp: "
             "linear"},
        Case{"length_schedule: {segments: [{until: end}]}",
             "r.yaml:1:30: length_schedule.segments.0: needs `length`, or `ramp` with `from` and `to`"},
        Case{"length_schedule: {segments: [{ramp: linear, from: 8}]}",
             "r.yaml:1:30: length_schedule.segments.0.to: is missing; a ramp goes from one length to another"},
        Case{"length_schedule: {segments: [{length: 8, step: 8}]}",
             "r.yaml:1:48: length_schedule.segments.0.step: would be ignored beside `length`, which makes a constant "
             "segment; leave it out"},
        Case{"length_schedule: {segments: [{ramp: linear, from: 8, to: 16, degree: 3}]}",
             "r.yaml:1:70: length_schedule.segments.0.degree: would be ignored by ramps other than root; leave it out"},
        Case{"length_schedule: {segments: [{ramp: table, table: [[0, 8]]}]}",
             "r.yaml:1:51: length_schedule.segments.0.table: needs two points or more, [[progress, length], ...]"},
        Case{"length_schedule: {segments: [{ramp: table, table: [[0, 8], [0, 16]]}]}",
             "r.yaml:1:60: length_schedule.segments.0.table.1: its progress must be beyond that of the point before"},
        Case{"length_schedule: {progress: steps, segments: [{ramp: linear, from: 8, to: 16}]}",
             "r.yaml:1:47: length_schedule.segments.0.until: a ramp needs its end in steps, which the budget does not "
             "name; write a "
             "number, or name steps in the budget"},
        Case{"optimizer: {name: sgd}", "r.yaml:1:19: optimizer.name: unknown optimizer 'sgd'; the one there is: adamw"},
        Case{"optimizer: {betas: [0.9]}",
             "r.yaml:1:20: optimizer.betas: must be two numbers below 1, such as [0.9, 0.95]"},
        Case{"lr_schedule: {kind: constant, final: 0.1}",
             "r.yaml:1:38: lr_schedule.final: would be ignored with kind constant; leave it out or use cosine or "
             "linear"},
        Case{"batch: {sequences: 4, policy: constant_sequences}\nlr_schedule: {decay_by: steps}",
             "r.yaml:2:25: lr_schedule.decay_by: must be tokens where tokens per step vary with the length (policy "
             "constant_sequences)"},
        Case{"length_schedule: {length: 8}\nlr_schedule: {rewarmup: {steps: 5}}",
             "r.yaml:2:33: lr_schedule.rewarmup.steps: would be ignored, as the length never changes; leave it out"},
        Case{
            "memory: {recompute: mlp, mini_sequence: {mlp: auto}}",
            "r.yaml:1:21: memory.recompute: mlp would be ignored beside memory.mini_sequence.mlp, which recomputes the "
            "MLP by chunks; leave one of the two out"},
        Case{"memory: {mini_sequence: {attention: 1k}}",
             "r.yaml:1:37: memory.mini_sequence.attention: would be ignored without memory.recompute: layer; add that "
             "or leave it out"},
        Case{"memory: {recompute: attention, keep_attention: true}",
             "r.yaml:1:48: memory.keep_attention: would be ignored without memory.recompute: layer; add that or leave "
             "it out"},
        Case{"memory: {recompute_every: 2}",
             "r.yaml:1:27: memory.recompute_every: would be ignored without memory.recompute: layer; add that or leave "
             "it out"},
        Case{"memory: {recompute: layer, offload: disk}",
             "r.yaml:1:37: memory.offload.to: disk needs memory.offload.path, a folder for the file"},
        Case{"memory: {offload: {to: disk, path: x}}",
             "r.yaml:1:24: memory.offload.to: would be ignored without memory.recompute: layer, which keeps layer "
             "inputs; add that"},
        Case{"memory: {offload: {path: x}}",
             "r.yaml:1:26: memory.offload.path: would be ignored without memory.offload.to: disk; leave it out"},
        Case{"memory: {offload: {to: host, optimizer: true}}",
             "r.yaml:1:41: memory.offload.optimizer: needs memory.offload: {to: disk, path: FOLDER}; add that or leave "
             "it out"},
        Case{
            "memory: {optimizer_in_backward: true}",
            "r.yaml:1:33: memory.optimizer_in_backward: clipping needs the norm of the whole gradient before the first "
            "update; write two_pass, or optimizer.clip: 0"},
        Case{"memory: {optimizer_in_backward: two_pass}\noptimizer: {clip: 0}",
             "r.yaml:1:33: memory.optimizer_in_backward: two_pass finds the norm for clipping, which optimizer.clip: 0 "
             "turns off; write true"},
        Case{"memory: {optimizer_in_backward: two_pass}\nbatch: {microbatch: 2}",
             "r.yaml:2:21: batch.microbatch: 2 adds up gradients over the step's 64 rows at length 256, but with "
             "memory.optimizer_in_backward no gradient outlives its layer; leave it out"},
        Case{"parallel: {data: 2}", "r.yaml:1:18: parallel.data: is not available yet; leave it out or write 1"},
        Case{"evaluation: {tokens: 100}",
             "r.yaml:1:22: evaluation.tokens: 100 is less than one row of the longest evaluation length; raise it to "
             "1024 or more"},
        Case{"data: {train: []}",
             "r.yaml:1:15: data.train: names no corpus; write a folder made by `accordion prepare`"},
        Case{"data: {train: [{path: a, weight: 0}]}",
             "r.yaml:1:34: data.train.0.weight: is 0, so that nothing would be drawn from this corpus; leave it out"}));

TEST(Validate, NamesTheCommandLineWhereItIsWrong) {
  EXPECT_EQ(mistake("", {"batch.tokens=64"}),
            "command line: batch.tokens: 64 is less than one row of max_length; raise it to 1024 or more");
  EXPECT_EQ(mistake("batch: {tokens: 1k}", {"length_schedule.max_length=4096"}),
            "r.yaml:1:17: batch.tokens: 1024 is less than one row of max_length; raise it to 4096 or more");
}

}  // namespace
}  // namespace accordion
