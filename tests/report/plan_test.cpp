#include "report/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

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
  for (const auto& memory : {json["memory"], json["stages"][0]["memory"], json["stages"][1]["memory"]}) {
    const double worst = memory["phases"][memory["worst_phase"].get<std::string>()];
    EXPECT_EQ(worst, memory["activations"]);
    EXPECT_EQ(memory["peak"], memory["weights"].get<int64_t>() + memory["gradients"].get<int64_t>() +
                                  memory["optimizer"].get<int64_t>() + memory["activations"].get<int64_t>());
  }
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
  EXPECT_LE(plan_of("length_schedule: {length: 512}", config).memory.longest, 512);
}

Plan plan_within(const std::string& text, int64_t bytes) {
  return make_plan(resolve(parse_recipe(text, "r.yaml")), model(), bytes);
}

/// A Llama of 8 layers and width 512, where techniques matter.
ModelConfig larger() {
  auto config = model();
  config.layers = 8;
  config.width = 512;
  config.heads = config.kv_heads = 8;
  config.head_width = 64;
  config.inner = 2048;
  return config;
}

TEST(Plan, EachMethodReachesFurther) {
  const auto json =
      plan_json(make_plan(resolve(parse_recipe("precision: bf16", "r.yaml")), larger(), int64_t{2} << 30));
  const auto& longest = json["longest_by_method"];
  EXPECT_GT(longest["none"], 0);
  EXPECT_GT(longest["recompute"], longest["none"]);
  EXPECT_GT(longest["mini_sequence"], longest["recompute"]);
  EXPECT_GT(longest["all"], longest["mini_sequence"]);
  EXPECT_THAT(plan_text(make_plan(resolve(parse_recipe("", "r.yaml")), larger())), HasSubstr("mini_sequence"));
}

TEST(Plan, LongestFollowsTheRecipesKeys) {
  const auto longest = [](const std::string& memory) {
    return make_plan(resolve(parse_recipe("precision: f32\n" + memory, "r.yaml")), larger(), int64_t{2} << 30)
        .memory.longest;
  };
  const auto plan = make_plan(resolve(parse_recipe("precision: f32", "r.yaml")), larger(), int64_t{2} << 30);
  EXPECT_EQ(longest("memory: {mini_sequence: {head: off}}"), plan.memory.by_method[0].longest);
  EXPECT_EQ(longest("memory: {recompute: layer, mini_sequence: {mlp: auto, attention: auto}}"),
            plan.memory.by_method[3].longest);
}

TEST(Plan, NamesTheKeysThatMakeItFit) {
  const std::string text = "precision: f32\nlength_schedule: {length: 16k}\nbatch: {tokens: 16k}";
  const auto plan = plan_within(text, int64_t{16} << 30);
  EXPECT_FALSE(plan.memory.warning);
  const auto needed = int64_t(process_bytes(plan.memory.worst.memory.peak()));
  const auto tight = plan_within(text, needed - 1);
  ASSERT_TRUE(tight.memory.warning);
  EXPECT_THAT(*tight.memory.warning, HasSubstr("with memory.mini_sequence.mlp=auto it needs"));
  EXPECT_EQ(plan_json(tight)["warnings"].back(), *tight.memory.warning);
  EXPECT_THAT(*plan_within(text, 1 << 20).memory.warning, HasSubstr("choose a smaller model"));
}

MemoryRecipe chunked(int64_t tokens) {
  MemoryRecipe memory;
  memory.mini_sequence.head = {MiniSequence::Kind::tokens, tokens};
  return memory;
}

TEST(Memory, GrowsWithRowsAndShrinksWithChunks) {
  MemoryRecipe off;
  off.mini_sequence.head = {};
  const auto all = estimate_memory(model(), false, 1, 4096, off);
  const auto chunk = estimate_memory(model(), false, 1, 4096, chunked(64));
  EXPECT_GT(all.activations, chunk.activations);
  EXPECT_GT(estimate_memory(model(), false, 2, 4096, chunked(64)).activations, chunk.activations);
  EXPECT_EQ(estimate_memory(model(), true, 1, 64, chunked(64)).weights,
            2.0 * static_cast<double>(model().parameters()));
  EXPECT_EQ(estimate_memory(model(), true, 1, 64, chunked(64)).optimizer,
            12.0 * static_cast<double>(model().parameters()));
  EXPECT_EQ(longest_row(model(), false, chunked(64), chunk.peak()), 4096);
  EXPECT_EQ(longest_row(model(), false, chunked(64), 1000), 0);
}

/// Every technique holds less than none, whatever the model, and chunks of queries cost a long row least of all.
TEST(Memory, TechniquesHoldLess) {
  auto parallel = larger(), gemma = larger();
  parallel.parallel_residual = true;
  parallel.mlp = MlpKind::gelu;
  gemma.post_norms = true;
  gemma.mlp = MlpKind::geglu;
  const MiniSequence automatic{MiniSequence::Kind::automatic, 0};
  for (const auto& config : {larger(), parallel, gemma}) {
    for (const bool bf16 : {false, true}) {
      const auto activations = [&](MemoryRecipe memory) {
        return estimate_memory(config, bf16, 1, 16384, memory).activations;
      };
      MemoryRecipe mlp, attention, layer, folded, all;
      mlp.recompute = Recompute::mlp;
      attention.recompute = Recompute::attention;
      layer.recompute = folded.recompute = all.recompute = Recompute::layer;
      folded.mini_sequence.mlp = all.mini_sequence.mlp = all.mini_sequence.attention = automatic;
      auto every = layer, keep = layer;
      every.recompute_every = 2;
      keep.keep_attention = true;
      const double none = activations({});
      for (const auto& memory : {mlp, attention, every}) {
        EXPECT_LT(activations(memory), none);
        EXPECT_GT(activations(memory), activations(layer));
      }
      EXPECT_GT(activations(keep), activations(layer));
      EXPECT_LT(activations(folded), activations(layer));
      EXPECT_LT(activations(all), activations(folded));
    }
  }
}

TEST(Memory, OptimizerInBackwardHoldsTheLargestGradientOnly) {
  MemoryRecipe memory;
  memory.optimizer_in_backward = InBackward::on;
  const auto config = larger();  // a layer is larger than the vocabulary's tables
  const double layer = static_cast<double>(config.layer_matmul_parameters()) / 8;
  EXPECT_NEAR(estimate_memory(config, true, 1, 64, memory).gradients, 4 * layer, 0.01 * 4 * layer);
}

TEST(Memory, OffloadKeepsNoInputsOfLayers) {
  MemoryRecipe memory, host, disk;
  memory.recompute = host.recompute = disk.recompute = Recompute::layer;
  host.offload.to = Offload::host;
  disk.offload.to = Offload::disk;
  const auto here = estimate_memory(larger(), true, 1, 16384, memory),
             away = estimate_memory(larger(), true, 1, 16384, host),
             mapped = estimate_memory(larger(), true, 1, 16384, disk);
  const double input = 2.0 * 16384 * 512;
  EXPECT_DOUBLE_EQ(here.kept - away.kept, 7 * input);  // one of the eight is on its way
  EXPECT_DOUBLE_EQ(here.kept - mapped.kept, 8 * input);
  EXPECT_LT(away.backward, here.backward);
  // What is on disk is mapped: resident, and no tensor of ours.
  EXPECT_DOUBLE_EQ(away.backward - mapped.backward, 2 * input);  // the layer's own, and the next
  EXPECT_DOUBLE_EQ(mapped.mapped, input);
  EXPECT_DOUBLE_EQ(mapped.resident(), mapped.fixed() + std::max(mapped.activations, mapped.backward + input));
  EXPECT_DOUBLE_EQ(away.resident(), away.peak());
  disk.offload.optimizer = true;
  EXPECT_DOUBLE_EQ(estimate_memory(larger(), true, 1, 16384, disk).optimizer, 0);
}

TEST(Memory, ThreadsHaveScratch) {
  EXPECT_GT(estimate_memory(model(), true, 1, 4096, {}, {.threads = 16}).backward,
            estimate_memory(model(), true, 1, 4096, {}, {.threads = 1}).backward);
}

}  // namespace
}  // namespace accordion
