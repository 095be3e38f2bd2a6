#include "schedule/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schedule/resolve.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char* const kSaved =
    "budget: {tokens: 1e6}\nbatch: {tokens: 4096}\nlength_schedule: {progress: tokens, max_length: 512, segments: "
    "[{length: 64, until: 3e5}, "
    "{ramp: linear, from: 64, to: 256, until: 6e5}, {length: 512}]}\n";

Recipe resolved(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return resolve(parse_recipe(text, "r.yaml", overrides));
}

std::vector<std::string> changes(const std::vector<std::string>& overrides, int64_t tokens) {
  return check_resume(resolved(kSaved), resolved(kSaved, overrides), {.steps = 10, .tokens = tokens});
}

std::string refusal(const std::vector<std::string>& overrides, int64_t tokens) {
  try {
    changes(overrides, tokens);
  } catch (const UserError& error) {
    return error.what();
  }
  return "allowed";
}

TEST(Resume, WhatMayChange) {
  EXPECT_THAT(changes({}, 1000), IsEmpty());
  EXPECT_THAT(changes({"budget.tokens=2e6"}, 1000), ElementsAre("budget.tokens: 1000000 -> 2000000"));
  EXPECT_THAT(changes({"evaluation.every={tokens: 1000}", "checkpoint.keep=3", "memory.mini_sequence.head=512"}, 1000),
              testing::SizeIs(4));
}

TEST(Resume, WhatMayNot) {
  EXPECT_THAT(refusal({"optimizer.lr=1e-4"}, 1000), HasSubstr("cannot change optimizer.lr ('0.001' -> '1e-04')"));
  EXPECT_THAT(refusal({"batch.tokens=8192"}, 1000), HasSubstr("batch.tokens"));
  EXPECT_THAT(refusal({"seed=2"}, 1000), HasSubstr("seed"));
  EXPECT_THAT(refusal({"loss.z_loss=1e-4"}, 1000), HasSubstr("cannot change loss.z_loss ('0' -> '1e-04')"));
  EXPECT_THAT(refusal({"loss.label_smoothing=0.1"}, 1000), HasSubstr("loss.label_smoothing"));
  EXPECT_THAT(refusal({"data.train=other"}, 1000), HasSubstr("data.train.0.path"));
  EXPECT_THAT(refusal({"length_schedule.multiple_of=16"}, 1000), HasSubstr("length_schedule.multiple_of"));
}

TEST(Resume, TheScheduleMayChangeBeyondThePresent) {
  EXPECT_EQ(refusal({"length_schedule.segments.0.until=4e5"}, 299'999), "allowed");
  EXPECT_EQ(refusal({"length_schedule.segments.1.to=512"}, 299'999), "allowed");
  EXPECT_EQ(refusal({"length_schedule.segments.2.length=448"}, 599'999), "allowed");
  EXPECT_EQ(refusal({"length_schedule.segments=[{length: 64, until: 4e5}, {length: 128}]"}, 299'999), "allowed");
  EXPECT_EQ(refusal({"length_schedule.max_length=1024"}, 299'999), "allowed");
}

TEST(Resume, ButNotTheScheduleSoFar) {
  EXPECT_THAT(refusal({"length_schedule.segments.0.length=32"}, 1000), HasSubstr("length_schedule.segments.0"));
  EXPECT_THAT(refusal({"length_schedule.segments.0.until=2e5"}, 250'000),
              HasSubstr("governs steps that are already trained"));
  EXPECT_THAT(refusal({"length_schedule.segments.0.until=4e5"}, 300'000),
              HasSubstr("length_schedule.segments.0.until"));
  EXPECT_THAT(refusal({"length_schedule.segments.1.to=512"}, 400'000), HasSubstr("length_schedule.segments.1.to"));
  EXPECT_THAT(refusal({"length_schedule.segments=[{length: 64}]"}, 400'000), HasSubstr("length_schedule.segments"));
}

/// Whatever decides the lengths of a ramp that is under way.
TEST(Resume, NothingOfARampUnderWay) {
  const std::string text =
      "budget: {tokens: 1e6}\nlength_schedule: {progress: tokens, max_length: 512, segments: [{ramp: root, from: 64, "
      "to: "
      "256, until: 6e5, step: 8, degree: 2, cycles: 2}, {ramp: table, table: [[6e5, 64], [8e5, 512]]}]}\n";
  const auto refused = [&](const std::string& override, int64_t tokens) {
    try {
      check_resume(resolved(text), resolved(text, {override}), {.steps = 10, .tokens = tokens});
    } catch (const UserError& error) {
      return std::string(error.what()).find("already trained") != std::string::npos;
    }
    return false;
  };
  for (const char* change : {"from=32", "to=128", "until=5e5", "step=16", "degree=3", "cycles=3", "source=x"})
    EXPECT_TRUE(refused(std::string("length_schedule.segments.0.") + change, 300'000)) << change;
  EXPECT_TRUE(
      refused("length_schedule.segments.0={ramp: sin, from: 64, to: 256, until: 6e5, step: 8, cycles: 2}", 300'000));
  EXPECT_TRUE(refused("length_schedule.segments.1.table=[[6e5, 64], [9e5, 512]]", 700'000));
  EXPECT_FALSE(refused("length_schedule.segments.1.table=[[6e5, 64], [9e5, 512]]", 300'000)) << "it is to come";
}

TEST(Resume, AFractionCountsInTheBudgetOfNow) {
  const std::string text =
      "budget: {tokens: 1e6}\nlength_schedule: {segments: [{length: 256, until: 0.5}, {length: 1024}]}\n";
  const Counters counters{.steps = 40, .tokens = 655'360};
  const auto with = [&](const std::vector<std::string>& overrides) {
    return check_resume(resolved(text), resolved(text, overrides), counters);
  };
  // Twice the budget: what ended at a half ends at a quarter; said so or left as it was, the run goes on.
  EXPECT_NO_THROW(with({"budget.tokens=2e6", "length_schedule.segments.0.until=0.25"}));
  EXPECT_NO_THROW(with({"budget.tokens=2e6"}));
  EXPECT_THROW(with({"budget.tokens=2e6", "length_schedule.segments.0.until=0.2"}), UserError);
}

}  // namespace
}  // namespace accordion
