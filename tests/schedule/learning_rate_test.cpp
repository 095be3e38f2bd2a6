#include "schedule/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "schedule/resolve.h"

namespace accordion {
namespace {

struct Trial {
  Recipe recipe;
  LengthSchedule schedule;
  LearningRate rate;
  explicit Trial(const std::string& text)
      : recipe(resolve(parse_recipe(text, "r.yaml"))), schedule(recipe), rate(recipe, schedule) {}
  double at(const Counters& counters) const { return rate.at(counters, schedule.at(counters)); }
  /// The rate of every step of the run.
  std::vector<double> all() const {
    std::vector<double> rates;
    Counters counters;
    while (!schedule.finished(counters)) {
      const auto plan = schedule.at(counters);
      rates.push_back(rate.at(counters, plan));
      counters = advance(counters, plan, rate.warmup_steps());
    }
    return rates;
  }
};

double cosine(double r, double final) { return final + (1 - final) * (1 + std::cos(std::numbers::pi * r)) / 2; }

TEST(LearningRate, WarmsUpByStepsAndDecaysByTokens) {
  const Trial run(
      "budget: {tokens: 1000}\nbatch: {tokens: 10}\nlength_schedule: {length: 5}\noptimizer: {lr: 2}\nlr_schedule: "
      "{warmup: {steps: 4}}");
  const auto rates = run.all();
  ASSERT_EQ(rates.size(), 100u);
  for (int n = 1; n <= 4; ++n) EXPECT_DOUBLE_EQ(rates[static_cast<size_t>(n - 1)], 2.0 * n / 4);
  EXPECT_DOUBLE_EQ(rates[4], 2);  // no token was trained since the end of warmup
  for (int n = 5; n <= 100; ++n)
    EXPECT_NEAR(rates[static_cast<size_t>(n - 1)], 2 * cosine(((n - 1) * 10 - 40) / 960.0, 0.1), 1e-12);
}

TEST(LearningRate, LinearAndConstant) {
  const Trial linear(
      "budget: {tokens: 1000}\nbatch: {tokens: 10}\nlength_schedule: {length: 5}\noptimizer: {lr: 1}\nlr_schedule: "
      "{kind: linear, final: 0, warmup: {steps: 0}}");
  EXPECT_DOUBLE_EQ(linear.at({}), 1);
  EXPECT_DOUBLE_EQ(linear.at({.steps = 25, .tokens = 250}), 0.75);
  EXPECT_DOUBLE_EQ(linear.at({.steps = 100, .tokens = 1000}), 0);
  EXPECT_DOUBLE_EQ(linear.at({.steps = 200, .tokens = 2000}), 0);
  const Trial constant("lr_schedule: {kind: constant, warmup: {steps: 2}}");
  EXPECT_DOUBLE_EQ(constant.at({}), 0.5e-3);
  EXPECT_DOUBLE_EQ(constant.at({.steps = 1000, .tokens = 19'000'000}), 1e-3);
}

/// A schedule and its baseline follow one curve over the tokens, as warmup ends at other tokens but decay ends alike.
TEST(LearningRate, VaryingTokensDecayByTokensTrained) {
  const std::string text = R"(
budget: {tokens: 1e6}
batch: {sequences: 8, policy: constant_sequences}
length_schedule: {apply: truncate, segments: [{length: 16, until: 0.5}, {length: 128}]}
lr_schedule: {warmup: {steps: 10}}
)";
  const Trial run(text);
  Counters counters;
  while (counters.steps < 2000) counters = advance(counters, run.schedule.at(counters), 10);
  EXPECT_EQ(counters.warmup_tokens, 10 * 8 * 16);
  const double r = static_cast<double>(counters.tokens - 1280) / (1e6 - 1280);
  EXPECT_NEAR(run.at(counters), 1e-3 * cosine(r, 0.1), 1e-15);
}

TEST(LearningRate, BudgetOfStepsBecomesTokens) {
  const Trial run(
      "budget: {steps: 100}\nbatch: {sequences: 2, policy: constant_sequences}\n"
      "length_schedule: {segments: [{length: 10, until: 0.5}, {length: 30}]}\nlr_schedule: {kind: linear, final: 0, "
      "warmup: {steps: 0}}");
  // 50 steps of 20 and 50 of 60 tokens: after half of the steps a quarter of the tokens is trained.
  EXPECT_DOUBLE_EQ(run.at({.steps = 50, .tokens = 1000}), 0.75e-3);
}

TEST(LearningRate, BudgetOfSecondsGoesByItsOwnShare) {
  const Trial run("budget: {seconds: 100}\nlr_schedule: {kind: linear, final: 0, warmup: {steps: 2}}");
  EXPECT_DOUBLE_EQ(run.at({.steps = 50, .tokens = 5, .seconds = 60, .warmup_seconds = 20}), 0.5e-3);
}

TEST(LearningRate, DecaysByStepsWhereEveryStepIsAlike) {
  const Trial run(
      "budget: {tokens: 1000}\nbatch: {tokens: 10}\nlength_schedule: {length: 5}\nlr_schedule: {kind: linear, final: "
      "0, decay_by: steps, warmup: {steps: 0}}");
  EXPECT_DOUBLE_EQ(run.at({.steps = 25}), 0.75e-3);
}

TEST(LearningRate, ScalesWithTokensOfAStep) {
  const std::string text =
      "batch: {sequences: 8, policy: constant_sequences, lr_scale: SCALE}\n"
      "length_schedule: {segments: [{length: 64, until: 0.5}, {length: 256}]}\nlr_schedule: {kind: constant, warmup: "
      "{steps: 0}}";
  const auto with = [&](const std::string& scale) {
    return Trial(std::string(text).replace(text.find("SCALE"), 5, scale));
  };
  EXPECT_DOUBLE_EQ(with("linear").at({}), 0.25e-3);
  EXPECT_DOUBLE_EQ(with("sqrt").at({}), 0.5e-3);
  EXPECT_DOUBLE_EQ(with("linear").at({.tokens = 15'000'000}), 1e-3);
}

TEST(LearningRate, WarmsUpAgainAfterAChange) {
  const Trial run(
      "budget: {tokens: 1000}\nbatch: {tokens: 20}\nlength_schedule: {segments: [{length: 10, until: 0.5}, {length: "
      "20}]}\n"
      "lr_schedule: {kind: constant, warmup: {steps: 0}, rewarmup: {steps: 4}}");
  const auto rates = run.all();
  EXPECT_DOUBLE_EQ(rates[0], 1e-3);
  EXPECT_DOUBLE_EQ(rates[24], 1e-3);
  for (int k = 1; k <= 6; ++k) EXPECT_DOUBLE_EQ(rates[static_cast<size_t>(24 + k)], 1e-3 * std::min(1.0, k / 4.0));
}

}  // namespace
}  // namespace accordion
