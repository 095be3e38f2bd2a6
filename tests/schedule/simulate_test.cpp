#include "schedule/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schedule/resolve.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// GPT of L layers and width d, GPT-2's vocabulary.
MatmulSizes gpt(int64_t layers, int64_t width) {
  return {.layers = layers,
          .attention_width = width,
          .layer_parameters = 12 * layers * width * width,
          .head_parameters = 50257 * width};
}

Recipe published(const std::string& name) {
  return load_recipe(ACCORDION_SOURCE_DIR "/tests/schedule/published/" + name);
}

double discarded(const Simulation& run) {
  return static_cast<double>(run.end.read - run.end.tokens) / static_cast<double>(run.end.read);
}

// Published settings (research: DeepSpeed's scripts, Cerebras' post on variable sequence length).

TEST(Published, SequenceLengthWarmup1500M) {
  const auto run = simulate(published("slw-gpt2-1.5b.yaml"), gpt(48, 1600)).value();
  EXPECT_EQ(run.end.steps, 58'769);
  EXPECT_NEAR(static_cast<double>(run.end.read), 246.5e9, 0.05e9);
  EXPECT_NEAR(discarded(run), 0.362, 0.0005);
  EXPECT_EQ(baseline_of(published("slw-gpt2-1.5b.yaml"), run, gpt(48, 1600)).steps, 37'500);
}

TEST(Published, SequenceLengthWarmupGpt3) {
  const auto run = simulate(published("slw-gpt3-1.3b.yaml"), gpt(24, 2048)).value();
  EXPECT_EQ(run.end.steps, 8'612);
  EXPECT_NEAR(discarded(run), 0.169, 0.0005);
}

TEST(Published, VariableSequenceLength) {
  const auto saving = [](const std::string& name, const MatmulSizes& model) {
    const auto recipe = published(name);
    const auto run = simulate(recipe, model).value();
    return 1 - run.flops.causal_flash / baseline_of(recipe, run, model).flops.causal_flash;
  };
  EXPECT_NEAR(saving("vsl-gpt3-125m.yaml", gpt(12, 768)), 0.1390, 0.00005);
  EXPECT_NEAR(saving("vsl-gpt3-111m.yaml", gpt(10, 768)), 0.2864, 0.00005);
}

TEST(Simulation, StagesAddUp) {
  const auto recipe = resolve(parse_recipe(R"(
budget: {tokens: 1e6}
batch: {tokens: 4096}
length_schedule: {segments: [{length: 64, until: 0.25}, {ramp: linear, from: 64, to: 512, until: 0.75}, {length: 1024}]}
)",
                                           "r.yaml"));
  const auto model = gpt(2, 64);
  const auto run = simulate(recipe, model).value();
  ASSERT_EQ(run.stages.size(), 3u);
  EXPECT_EQ(run.stages[0].from_step, 1);
  EXPECT_EQ(run.stages[0].rows_first, 64);
  EXPECT_EQ(run.stages[1].from_step, run.stages[0].to_step + 1);
  EXPECT_EQ(run.stages[1].length_first, 64);
  EXPECT_EQ(run.stages[1].length_last, 504);
  EXPECT_EQ(run.stages[2].to_step, run.end.steps);
  int64_t tokens = 0;
  double flops = 0;
  for (const auto& stage : run.stages) {
    tokens += stage.tokens;
    flops += stage.flops.executed;
  }
  EXPECT_EQ(tokens, run.end.tokens);
  EXPECT_GE(tokens, 1'000'000);
  EXPECT_LT(tokens, 1'000'000 + 4200);
  EXPECT_DOUBLE_EQ(flops, run.flops.executed);
  EXPECT_EQ(run.end.read, run.end.tokens);
}

TEST(Simulation, IsUnknownWhereOnlySecondsDecide) {
  EXPECT_FALSE(simulate(resolve(parse_recipe("budget: {seconds: 60}", "r.yaml")), gpt(2, 64)));
  EXPECT_FALSE(simulate(resolve(parse_recipe("budget: {tokens: 1e6, seconds: 60}\nlength_schedule: {progress: seconds, "
                                             "segments: [{length: 8, until: 30}, {length: 16}]}",
                                             "r.yaml")),
                        gpt(2, 64)));
}

std::vector<std::string> warnings(const std::string& text) {
  return simulate(resolve(parse_recipe(text, "r.yaml")), gpt(2, 64))->warnings;
}

TEST(Warnings, OfWhatHarmsTraining) {
  EXPECT_THAT(warnings("length_schedule: {segments: [{length: 256, until: 0.75}, {length: 1024}]}"), IsEmpty());
  EXPECT_THAT(warnings("length_schedule: {segments: [{length: 128, until: 0.5}, {length: 1024}]}"),
              ElementsAre(HasSubstr("the length grows 8 times at once (128 -> 1024)")));
  EXPECT_THAT(
      warnings("length_schedule: {segments: [{length: 512, until: 0.98}, {length: 1024}]}\nlr_schedule: {final: 0}"),
      ElementsAre(HasSubstr("of the peak learning rate")));
  EXPECT_THAT(warnings("budget: {steps: 10}\nlength_schedule: {progress: steps, segments: [{length: 512, until: 20}, "
                       "{length: 1024}]}\nlr_schedule: {warmup: {steps: 0}}"),
              ElementsAre(HasSubstr("before segment 2 of 2")));
  EXPECT_THAT(warnings("budget: {steps: 10}"), ElementsAre(HasSubstr("within the learning rate's warmup (100 steps)")));
}

TEST(Baseline, TrainsTheSameTokens) {
  const std::string text =
      "budget: {steps: 100}\nbatch: {sequences: 2, policy: constant_sequences}\n"
      "length_schedule: {apply: truncate, BASELINE segments: [{length: 10, until: 0.5}, {length: 30}]}\n";
  const auto with = [&](const std::string& flag) {
    return resolve(parse_recipe(std::string(text).replace(text.find("BASELINE"), 8, flag), "r.yaml"));
  };
  const auto recipe = with(""), baseline = with("baseline: true,");
  EXPECT_EQ(baseline.length_schedule.length, 30);
  EXPECT_TRUE(baseline.length_schedule.segments.empty());
  EXPECT_FALSE(baseline.budget.steps);
  EXPECT_EQ(baseline.budget.tokens, 50 * 20 + 50 * 60);
  EXPECT_EQ(baseline.evaluation.lengths, recipe.evaluation.lengths);
  EXPECT_EQ(recipe.run, "runs/r");
  EXPECT_EQ(baseline.run, "runs/r-baseline");
}

}  // namespace
}  // namespace accordion
