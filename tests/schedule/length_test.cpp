#include "schedule/length.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "schedule/resolve.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::Pair;

Recipe recipe_of(const std::string& text) { return resolve(parse_recipe(text, "r.yaml")); }

/// The lengths of the first `steps` steps.
std::vector<int64_t> first_lengths(const LengthSchedule& schedule, int64_t steps) {
  std::vector<int64_t> lengths;
  Counters counters;
  for (int64_t i = 0; i < steps; ++i) {
    const auto plan = schedule.at(counters);
    lengths.push_back(plan.length);
    counters = advance(counters, plan, 0);
  }
  return lengths;
}

// DeepSpeed's curriculum, from its published formulas; t counts steps from 1.

/// fixed_root; fixed_linear is degree 1.
int64_t deepspeed_root(int64_t t, int64_t total, int64_t least, int64_t most, int64_t step, int64_t degree) {
  const double share = std::pow(static_cast<double>(t) / static_cast<double>(total), 1.0 / static_cast<double>(degree));
  auto length =
      static_cast<int64_t>(std::floor(share * static_cast<double>(most - least) + static_cast<double>(least)));
  length -= length % step;
  return std::min(length, most);
}

/// fixed_discrete: difficulty i holds while t <= max_step[i].
int64_t deepspeed_discrete(int64_t t, const std::vector<int64_t>& lengths, const std::vector<int64_t>& max_step) {
  size_t i = 0;
  while (i < max_step.size() && t > max_step[i]) ++i;
  return lengths[i];
}

TEST(DeepSpeed, FixedLinearStepByStep) {
  const auto recipe = recipe_of(R"(
budget: {steps: 60000}
batch: {sequences: 4, policy: constant_sequences}
length_schedule:
  progress: steps
  apply: truncate
  evaluate: after
  segments: [{ramp: linear, from: 64, to: 1024, until: 45000, step: 8}, {length: 1024}]
)");
  const auto lengths = first_lengths(LengthSchedule(recipe), 46000);
  for (int64_t t = 1; t <= 46000; ++t)
    ASSERT_EQ(lengths[static_cast<size_t>(t - 1)], deepspeed_root(t, 45000, 64, 1024, 8, 1)) << "step " << t;
}

TEST(DeepSpeed, FixedRootStepByStep) {
  for (const int64_t degree : {2, 3}) {
    const auto recipe = recipe_of(
        "budget: {steps: 20000}\nbatch: {sequences: 4, policy: constant_sequences}\n"
        "length_schedule: {progress: steps, evaluate: after, apply: truncate, segments: [{ramp: root, "
        "from: 8, to: 2048, until: 15000, step: 16, degree: " +
        std::to_string(degree) + "}, {length: 2048}]}");
    const auto lengths = first_lengths(LengthSchedule(recipe), 15100);
    for (int64_t t = 1; t <= 15100; ++t) {
      // Ours never falls below `from`, where DeepSpeed rounds 8 down to 0.
      const auto theirs = std::max<int64_t>(8, deepspeed_root(t, 15000, 8, 2048, 16, degree));
      ASSERT_EQ(lengths[static_cast<size_t>(t - 1)], theirs) << "degree " << degree << " step " << t;
    }
  }
}

TEST(DeepSpeed, FixedDiscreteStepByStep) {
  const auto recipe = recipe_of(R"(
budget: {steps: 1000}
batch: {sequences: 4, policy: constant_sequences}
length_schedule: {progress: steps, segments: [{length: 128, until: 100}, {length: 250, until: 300}, {length: 1024}]}
)");
  const auto lengths = first_lengths(LengthSchedule(recipe), 1000);
  for (int64_t t = 1; t <= 1000; ++t)
    ASSERT_EQ(lengths[static_cast<size_t>(t - 1)], deepspeed_discrete(t, {128, 250, 1024}, {100, 300})) << "step " << t;
}

/// Composer's staircase, from its published formula; `batch` counts from 0.
int64_t composer(int64_t batch, int64_t total, double duration, int64_t least, int64_t most, int64_t step) {
  const auto warmup = static_cast<int64_t>(static_cast<double>(total) * duration);
  const int64_t every = warmup / ((most - least) / step);
  return std::clamp(step * (batch / every) + least, least, most);
}

TEST(Composer, StaircaseStepByStep) {
  // 3,000 warmup batches make 127 updates, one every 23: the ramp ends after 127 x 23 = 2,921 batches.
  const auto recipe = recipe_of(R"(
budget: {steps: 10000}
batch: {sequences: 4, policy: constant_sequences}
length_schedule: {progress: steps, segments: [{ramp: linear, from: 8, to: 1024, until: 2921, step: 8}, {length: 1024}]}
)");
  const auto lengths = first_lengths(LengthSchedule(recipe), 10000);
  int64_t updates = 0;
  for (int64_t batch = 0; batch < 10000; ++batch) {
    ASSERT_EQ(lengths[static_cast<size_t>(batch)], composer(batch, 10000, 0.3, 8, 1024, 8)) << "batch " << batch;
    updates += batch > 0 && lengths[static_cast<size_t>(batch)] != lengths[static_cast<size_t>(batch - 1)];
  }
  EXPECT_EQ(updates, 127);
}

TEST(Composer, RunsTooShortForItsStaircaseAreLegalHere) {
  const auto recipe = recipe_of(R"(
budget: {steps: 50}
batch: {sequences: 4, policy: constant_sequences}
length_schedule: {segments: [{ramp: linear, from: 8, to: 1024, until: 0.3, step: 8}, {length: 1024}]}
)");
  const auto lengths = first_lengths(LengthSchedule(recipe), 50);
  EXPECT_EQ(lengths.front(), 8);
  EXPECT_EQ(lengths[15], 1024);
  EXPECT_TRUE(std::is_sorted(lengths.begin(), lengths.end()));
}

TEST(SkyLadder, RampReachesFullLengthAtItsPublishedStep) {
  // min(8192, 32 + floor(step / 8))
  const auto recipe = recipe_of(R"(
budget: {steps: 100000}
batch: {tokens: 8192}
evaluation: {tokens: 8192}
length_schedule: {progress: steps, multiple_of: 1, segments: [{ramp: linear, from: 32, to: 8192, until: 65280}, {length: 8192}]}
)");
  const LengthSchedule schedule(recipe);
  for (int64_t step = 0; step < 70000; ++step)
    ASSERT_EQ(schedule.length_at(static_cast<double>(step)), std::min<int64_t>(8192, 32 + step / 8)) << "step " << step;
  EXPECT_EQ(schedule.length_at(65279), 8191);
  EXPECT_EQ(schedule.length_at(65280), 8192);
}

LengthSchedule ramp(const std::string& options, int64_t multiple_of = 1) {
  return LengthSchedule(recipe_of(
      "budget: {tokens: 1e6}\nbatch: {tokens: 4096}\nlength_schedule: {multiple_of: " + std::to_string(multiple_of) +
      ", max_length: 4096, segments: [{until: 0.5, " + options + "}, {length: 4096}]}"));
}

TEST(Ramp, FormsAtEndsAndMiddle) {
  struct Form {
    const char* options;
    int64_t first, middle, end;
  };
  for (const auto& form :
       {Form{"ramp: linear, from: 100, to: 1100", 100, 600, 1100},
        Form{"ramp: root, from: 100, to: 1100", 100, 807, 1100}, Form{"ramp: exp, from: 64, to: 1024", 64, 256, 1024},
        Form{"ramp: sin, from: 100, to: 1100", 100, 807, 1100},
        Form{"ramp: cosine, from: 100, to: 1100", 100, 600, 1100},
        Form{"ramp: cubic, from: 100, to: 1100", 100, 600, 1100}, Form{"ramp: pow2, from: 64, to: 1024", 64, 256, 1024},
        Form{"ramp: linear, from: 1100, to: 100", 1100, 600, 100},
        Form{"ramp: pow2, from: 1024, to: 64", 1024, 256, 64},
        Form{"ramp: table, table: [[0, 10], [0.25, 20], [0.4, 50]]", 10, 20, 50},
        Form{"ramp: linear, from: 128, to: 128", 128, 128, 128}}) {
    const auto schedule = ramp(form.options);
    EXPECT_EQ(schedule.length_at(0), form.first) << form.options;
    EXPECT_EQ(schedule.length_at(0.25), form.middle) << form.options;
    EXPECT_NEAR(static_cast<double>(schedule.length_at(std::nextafter(0.5, 0))), static_cast<double>(form.end), 1)
        << form.options;
    EXPECT_EQ(schedule.length_at(0.5), 4096) << form.options;
  }
}

TEST(Ramp, LastSegmentArrivesAtItsEnd) {
  const LengthSchedule schedule(
      recipe_of("budget: {steps: 10}\nlength_schedule: {progress: steps, evaluate: after, segments: [{ramp: linear, "
                "from: 8, to: 1001, until: end}]}"));
  EXPECT_EQ(first_lengths(schedule, 10).back(), 1001);
  EXPECT_EQ(schedule.length_at(10), 1001);
  EXPECT_EQ(schedule.length_at(9), 896);  // 901.7, rounded down to a multiple of 8
}

TEST(Ramp, RoundsDownWithinItsEnds) {
  const auto schedule = ramp("ramp: linear, from: 10, to: 1001, step: 16", 8);
  for (double p = 0; p < 0.5; p += 0.001) {
    const auto length = schedule.length_at(p);
    EXPECT_TRUE(length == 10 || length % 16 == 0) << length;
    EXPECT_GE(length, 10);
    EXPECT_LE(length, 1001);
  }
}

TEST(Ramp, RunsInCycles) {
  const auto schedule = ramp("ramp: linear, from: 100, to: 200, cycles: 4");
  for (const double start : {0.0, 0.125, 0.25, 0.375}) {
    EXPECT_EQ(schedule.length_at(start), 100);
    EXPECT_EQ(schedule.length_at(start + 0.0625), 150);
    EXPECT_EQ(schedule.length_at(start + 0.1249999), 199);
  }
}

TEST(Ramp, EachPowerOfTwoGetsTheSameShare) {
  const auto schedule = ramp("ramp: pow2, from: 64, to: 1024");
  for (int level = 0; level < 5; ++level) {
    EXPECT_EQ(schedule.length_at(0.1 * level + 0.0001), 64 << level);
    EXPECT_EQ(schedule.length_at(0.1 * level + 0.0999), 64 << level);
  }
  EXPECT_EQ(ramp("ramp: pow2, from: 100, to: 1000").length_at(0.4999), 1000);
}

TEST(Ramp, WithoutDurationIsLegal) {
  const LengthSchedule schedule(
      recipe_of("length_schedule: {segments: [{length: 64, until: 0.5}, {ramp: linear, from: 64, to: 128, until: 0.5}, "
                "{length: 1024}]}"));
  EXPECT_EQ(schedule.length_at(0.49), 64);
  EXPECT_EQ(schedule.length_at(0.5), 1024);
}

TEST(Schedule, SwitchesExactlyAtItsBoundary) {
  const LengthSchedule schedule(
      recipe_of("budget: {tokens: 1e6}\nbatch: {tokens: 1000}\nlength_schedule: {segments: [{length: 100, until: 0.9}, "
                "{length: 200}]}"));
  EXPECT_EQ(schedule.at({.tokens = 899'999}).length, 100);
  EXPECT_EQ(schedule.at({.tokens = 900'000}).length, 200);
}

TEST(Schedule, GoesByEveryUnit) {
  const auto at = [](const std::string& unit, const Counters& counters) {
    return LengthSchedule(
               recipe_of("budget: {tokens: 1e6, steps: 1000, seconds: 100}\nlength_schedule: {progress: " + unit + "}"))
        .at(counters)
        .length;
  };
  EXPECT_EQ(at("fraction", {.tokens = 740'000, .seconds = 10}), 256);
  EXPECT_EQ(at("fraction", {.tokens = 750'000, .seconds = 10}), 1024);
  EXPECT_EQ(at("fraction", {.tokens = 10, .seconds = 75}), 1024);
  EXPECT_EQ(at("fraction", {.steps = 750}), 1024);
  const auto by = [](const std::string& unit, const std::string& until, const Counters& counters) {
    return LengthSchedule(recipe_of("budget: {tokens: 1e6}\nlength_schedule: {progress: " + unit +
                                    ", segments: [{length: 8, until: " + until + "}, {length: 16}]}"))
        .at(counters)
        .length;
  };
  EXPECT_EQ(by("steps", "7", {.steps = 6}), 8);
  EXPECT_EQ(by("steps", "7", {.steps = 7}), 16);
  EXPECT_EQ(by("tokens", "1k", {.tokens = 1023}), 8);
  EXPECT_EQ(by("tokens", "1k", {.tokens = 1024}), 16);
  EXPECT_EQ(by("seconds", "1.5", {.seconds = 1.4}), 8);
  EXPECT_EQ(by("seconds", "1.5", {.seconds = 1.5}), 16);
}

TEST(Schedule, KeepsTokensOfAStepConstant) {
  const LengthSchedule schedule(
      recipe_of("batch: {tokens: 16384}\nlength_schedule: {max_length: 3000, segments: [{ramp: linear, from: 8, to: "
                "3000, until: end}]}"));
  for (const auto& [length, rows] : schedule.shapes()) {
    EXPECT_EQ(rows, std::max<int64_t>(1, std::llround(16384.0 / static_cast<double>(length))));
    EXPECT_NEAR(static_cast<double>(rows * length), 16384, static_cast<double>(length) / 2 + 1);
  }
  EXPECT_FALSE(schedule.tokens_vary());
}

TEST(Schedule, TruncationReadsRowsOfFullLength) {
  const LengthSchedule schedule(recipe_of(R"(
batch: {sequences: 4, policy: constant_sequences}
length_schedule: {apply: truncate, segments: [{length: 8, until: 0.5}, {length: 32}]}
)"));
  const auto plan = schedule.at({});
  EXPECT_EQ(plan.tokens(), 32);
  EXPECT_EQ(plan.read(), 128);
  EXPECT_TRUE(schedule.tokens_vary());
}

TEST(Schedule, NamesTheSegmentsCorpus) {
  const LengthSchedule schedule(
      recipe_of("length_schedule: {segments: [{length: 256, until: 0.5, source: short}, {length: 1024}]}"));
  EXPECT_EQ(schedule.at({}).source, "short");
  EXPECT_EQ(schedule.at({.tokens = 15'000'000}).source, "");
  EXPECT_EQ(schedule.at({.tokens = 15'000'000}).segment, 1);
}

TEST(Schedule, ListsItsShapes) {
  const LengthSchedule schedule(
      recipe_of("batch: {tokens: 128}\nlength_schedule: {segments: [{length: 20, until: 0.2}, {ramp: linear, from: 20, "
                "to: 50, until: 0.5}, {length: 64}]}"));
  EXPECT_THAT(schedule.shapes(),
              ElementsAre(Pair(20, 6), Pair(24, 5), Pair(32, 4), Pair(40, 3), Pair(48, 3), Pair(50, 3), Pair(64, 2)));
  EXPECT_THAT(schedule.constant_lengths(), ElementsAre(20, 64));
  Counters counters;
  const auto lengths = schedule.lengths();
  while (!schedule.finished(counters)) {
    const auto plan = schedule.at(counters);
    ASSERT_THAT(lengths, testing::Contains(plan.length));
    counters = advance(counters, plan, 0);
  }
}

TEST(Schedule, IsAPureFunctionOfItsCounters) {
  const LengthSchedule schedule(recipe_of(
      "length_schedule: {segments: [{ramp: linear, from: 8, to: 1024, until: 0.6, cycles: 3}, {length: 1024}]}"));
  const Counters late{.steps = 1000, .tokens = 11'000'000}, early{.steps = 5, .tokens = 80'000};
  const auto first = schedule.at(early).length;
  schedule.at(late);
  EXPECT_EQ(schedule.at(early).length, first);
}

TEST(Schedule, EndsAtTheFirstBudgetReached) {
  const LengthSchedule schedule(recipe_of("budget: {tokens: 1e6, steps: 10, seconds: 5, epochs: 2}"));
  EXPECT_FALSE(schedule.finished({.steps = 9, .tokens = 999'999, .seconds = 4.9, .epochs = 1.9}));
  EXPECT_TRUE(schedule.finished({.steps = 10}));
  EXPECT_TRUE(schedule.finished({.tokens = 1'000'000}));
  EXPECT_TRUE(schedule.finished({.seconds = 5}));
  EXPECT_TRUE(schedule.finished({.epochs = 2}));
  EXPECT_DOUBLE_EQ(schedule.fraction({.steps = 1, .tokens = 500'000, .seconds = 1}), 0.5);
}

TEST(Counters, GoThroughJson) {
  const Counters counters{.steps = 3,
                          .tokens = 7,
                          .read = 9,
                          .seconds = 0.1,
                          .epochs = 0.25,
                          .length = 8,
                          .changed = 2,
                          .warmup_tokens = 4,
                          .warmup_seconds = 0.3,
                          .warmup_epochs = 0.7};
  const auto again = nlohmann::json::parse(nlohmann::json(counters).dump()).get<Counters>();
  EXPECT_EQ(nlohmann::json(again), nlohmann::json(counters));
  EXPECT_EQ(again.seconds, counters.seconds);
}

TEST(Counters, RememberWhereWarmupEndedAndWhereTheLengthChanged) {
  Counters counters;
  const StepPlan narrow{.length = 8, .rows = 2, .read_length = 16}, wide{.length = 16, .rows = 2, .read_length = 16};
  for (const auto* plan : {&narrow, &narrow, &narrow, &wide, &wide}) counters = advance(counters, *plan, 2, 0.5);
  EXPECT_EQ(counters.steps, 5);
  EXPECT_EQ(counters.tokens, 3 * 16 + 2 * 32);
  EXPECT_EQ(counters.read, 5 * 32);
  EXPECT_EQ(counters.seconds, 2.5);
  EXPECT_EQ(counters.warmup_tokens, 32);
  EXPECT_EQ(counters.warmup_seconds, 1);
  EXPECT_EQ(counters.changed, 3);
}

TEST(Microbatch, KeepsPassesAlike) {
  EXPECT_EQ(microbatch_rows(256, 64, 4096), 16);
  EXPECT_EQ(microbatch_rows(4096, 4, 4096), 1);
  EXPECT_EQ(microbatch_rows(8192, 4, 4096), 1);
  EXPECT_EQ(microbatch_rows(128, 8, 4096), 8);
  EXPECT_EQ(microbatch_rows(1000, 9, 4096), 3);  // 3 + 3 + 3, not 4 + 4 + 1
  for (int64_t rows = 1; rows < 50; ++rows) {
    const auto at_once = microbatch_rows(300, rows, 4096);
    EXPECT_GE(at_once, 1);
    EXPECT_LE(at_once * 300, 4096);
  }
}

}  // namespace
}  // namespace accordion
