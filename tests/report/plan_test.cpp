#include "report/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "schedule/resolve.h"

namespace accordion {
namespace {

using testing::HasSubstr;

/// A small Llama in numbers.
ModelConfig model() {
  ModelConfig config;
  config.layers = 2;
  config.width = 64;
  config.heads = config.kv_heads = 4;
  config.head_width = 16;
  config.inner = 256;
  config.vocabulary = 1000;
  return config;
}

Plan plan_of(const std::string& text, const ModelConfig& config = model()) {
  return make_plan(resolve(parse_recipe(text, "r.yaml")), config);
}

TEST(Plan, JsonHoldsWhatTheInterfaceNames) {
  const auto json = plan_json(plan_of("budget: {tokens: 1e6}\nprecision: f32"));
  EXPECT_EQ(json["parameters"], model().parameters());
  EXPECT_EQ(json["stages"].size(), 2u);
  for (const auto* key : {"from_step", "to_step", "length_first", "length_last", "rows", "tokens", "flops"})
    EXPECT_TRUE(json["stages"][0].contains(key)) << key;
  EXPECT_EQ(json["stages"][0]["from_step"], 1);
  EXPECT_EQ(json["stages"][1]["to_step"], json["steps"]);
  EXPECT_EQ(json["tokens"]["discarded"], 0);
  EXPECT_EQ(json["baseline"]["length"], 1024);
  for (const auto* accounting : {"matmul_full", "matmul_causal", "causal_flash", "executed"}) {
    const double run = json["flops"][accounting], baseline = json["baseline"]["flops"][accounting];
    EXPECT_DOUBLE_EQ(json["saving"][accounting], 1 - run / baseline) << accounting;
  }
  for (const auto* key : {"weights", "gradients", "optimizer", "activations", "peak"})
    EXPECT_GT(json["memory"][key], 0) << key;
  EXPECT_EQ(json["memory"]["weights"], 4 * model().parameters());
  EXPECT_EQ(json["memory"]["optimizer"], 8 * model().parameters());
  EXPECT_GT(json["longest"], 1024);
}

TEST(Plan, ConstantRunSavesNothing) {
  const auto plan = plan_of("budget: {tokens: 1e6}\nlength_schedule: {length: 512}");
  EXPECT_DOUBLE_EQ(plan.run->flops.executed, plan.baseline->flops.executed);
  EXPECT_EQ(plan.run->end.steps, plan.baseline->steps);
}

TEST(Plan, SaysWhatSecondsLeaveUnknown) {
  const auto plan = plan_of("budget: {seconds: 60}");
  EXPECT_TRUE(plan_json(plan)["steps"].is_null());
  EXPECT_THAT(plan_text(plan), HasSubstr("unknown: seconds or epochs decide them"));
}

TEST(Plan, RefusesRowsBeyondATableOfPositions) {
  auto config = model();
  config.position = PositionKind::learned;
  config.max_positions = 512;
  EXPECT_THROW(plan_of("", config), UserError);
  EXPECT_LE(plan_of("length_schedule: {length: 512}", config).longest, 512);
}

TEST(Memory, GrowsWithRowsAndShrinksWithChunks) {
  const MiniSequence off, chunked{.kind = MiniSequence::Kind::tokens, .amount = 64};
  const auto all = estimate_memory(model(), false, 4096, off), chunk = estimate_memory(model(), false, 4096, chunked);
  EXPECT_GT(all.activations, chunk.activations);
  EXPECT_GT(estimate_memory(model(), false, 8192, chunked).activations, chunk.activations);
  EXPECT_EQ(estimate_memory(model(), true, 64, chunked).weights, 2.0 * static_cast<double>(model().parameters()));
  EXPECT_EQ(estimate_memory(model(), true, 64, chunked).optimizer, 12.0 * static_cast<double>(model().parameters()));
  const auto longest = longest_row(model(), false, chunked, chunk.peak());
  EXPECT_EQ(longest, 4096);
  EXPECT_EQ(longest_row(model(), false, chunked, 1000), 0);
}

}  // namespace
}  // namespace accordion
