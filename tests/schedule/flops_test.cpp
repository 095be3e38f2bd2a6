#include "schedule/flops.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace accordion {
namespace {

/// A GPT of L layers and width d: 12 d^2 values a layer.
MatmulSizes gpt(int64_t layers, int64_t width, int64_t vocabulary) {
  return {.layers = layers,
          .attention_width = width,
          .layer_parameters = 12 * layers * width * width,
          .head_parameters = vocabulary * width};
}

/// Llama: q and output projections of width x width, k and v of kv_width, three matrices of the MLP.
MatmulSizes llama(int64_t layers, int64_t width, int64_t kv_width, int64_t inner, int64_t vocabulary) {
  return {.layers = layers,
          .attention_width = width,
          .layer_parameters = layers * (2 * width * width + 2 * width * kv_width + 3 * width * inner),
          .head_parameters = vocabulary * width};
}

void expect_close(double value, double published, double tolerance) {
  EXPECT_NEAR(value / published, 1, tolerance) << value;
}

/// Cerebras-GPT (Dey et al. 2023): training FLOPs of all seven sizes at length 2,048, 20 tokens a parameter.
TEST(Published, CerebrasGpt) {
  struct Size {
    int64_t layers, width;
    double tokens, flops;
  };
  for (const auto& [layers, width, tokens, flops] :
       {Size{10, 768, 2.2e9, 2.6e18}, Size{14, 1088, 5.1e9, 1.3e19}, Size{18, 1536, 1.18e10, 6.1e19},
        Size{24, 2048, 2.63e10, 2.8e20}, Size{32, 2560, 5.3e10, 1.1e21}, Size{32, 4096, 1.33e11, 6.3e21},
        Size{40, 5120, 2.57e11, 2.3e22}}) {
    const double total = tokens * flops_per_token(gpt(layers, width, 50257), kCerebrasGpt, 2048);
    EXPECT_EQ(format("%.1e", total), format("%.1e", flops));  // published to two digits
  }
  const auto model = gpt(10, 768, 50257);
  EXPECT_DOUBLE_EQ(flops_per_token(model, kCerebrasGpt, 2048),
                   72.0 * 10 * 768 * 768 + 24.0 * 10 * 2048 * 768 + 10.0 * 768 * 50257);
}

/// Xiong et al. 2023 (2309.16039): Llama-7B, 100,000 steps of 4 Mi tokens; 4k then 32k, switched at 20, 40 and 80 %.
TEST(Published, XiongLongContext) {
  const auto model = llama(32, 4096, 4096, 11008, 32000);
  const double tokens = 1e5 * 4 * 1024 * 1024;
  const auto total = [&](double short_share) {
    return tokens * (short_share * flops_per_token(model, kWithoutVocabulary, 4096) +
                     (1 - short_share) * flops_per_token(model, kWithoutVocabulary, 32768));
  };
  expect_close(total(0), 3.783e22, 0.005);
  expect_close(total(0.2), 3.405e22, 0.005);
  expect_close(total(0.4), 3.026e22, 0.005);
  expect_close(total(0.8), 2.270e22, 0.005);
}

/// SkyLadder (2503.15450): 1B model, 100,000 steps of 2^20 tokens; the window grows from 8 or 32 by one each 8 steps,
/// and a row is cut into pieces of the window, the last one shorter.
TEST(Published, SkyLadder) {
  const auto model = llama(22, 2048, 256, 5632, 32000);
  const double step_tokens = 1024 * 1024;
  const auto total = [&](int64_t row, int64_t first_window, double steps_per_token) {
    double flops = 0, priced = 0;
    int64_t priced_window = 0;
    for (int64_t step = 0; step < 100'000; ++step) {
      const auto window =
          std::min(row, first_window + static_cast<int64_t>(static_cast<double>(step) * steps_per_token));
      if (window != priced_window) {
        std::vector<int64_t> pieces(static_cast<size_t>(row / window), window);
        if (row % window) pieces.push_back(row % window);
        priced = flops_per_token(model, kAllParameters, effective_length(pieces));
        priced_window = window;
      }
      flops += step_tokens * priced;
    }
    return flops;
  };
  expect_close(total(8192, 8192, 0), 11.6e20, 0.005);
  expect_close(total(8192, 32, 1.0 / 8), 9.9e20, 0.005);
  expect_close(total(32768, 32768, 0), 25.5e20, 0.005);
  expect_close(total(32768, 32, 1.0 / 2), 18.8e20, 0.005);
}

TEST(Flops, EffectiveLengthWeighsPiecesByTheirTokens) {
  EXPECT_DOUBLE_EQ(effective_length(std::vector<int64_t>{8, 8}), 8);
  EXPECT_DOUBLE_EQ(effective_length(std::vector<int64_t>{6, 2}), 5);
  EXPECT_DOUBLE_EQ(effective_length(std::vector<std::vector<int64_t>>{{6, 2}, {8}}), 6.5);
}

TEST(Flops, AccountingsOfTheInterface) {
  const auto model = gpt(2, 64, 1000);
  const double layer = 6.0 * 2 * 12 * 64 * 64, head = 6.0 * 64 * 1000, attention = 2.0 * 128 * 64;
  const auto flops = training_flops(model, 128);
  EXPECT_DOUBLE_EQ(flops.matmul_full, layer + head + 12 * attention);
  EXPECT_DOUBLE_EQ(flops.matmul_causal, layer + head + 6 * attention);
  EXPECT_DOUBLE_EQ(flops.causal_flash, layer + 7 * attention);
  EXPECT_DOUBLE_EQ(flops.executed, layer + head + 14 * attention);  // shorter than a block: no key is skipped
}

TEST(Flops, LongRowsExecuteHalfOfTheirBlocksAndTheDiagonal) {
  const auto model = gpt(1, 64, 0);
  const auto attention = [&](double s) { return executed_per_token(model, s) - 6.0 * 12 * 64 * 64; };
  EXPECT_DOUBLE_EQ(attention(512), 14.0 * 64 * 512);
  EXPECT_DOUBLE_EQ(attention(1024), 14.0 * 64 * 768);  // half of the rows see 512 keys, half 1,024
  EXPECT_DOUBLE_EQ(attention(8192), 14.0 * 64 * (8192 + 512) / 2);
}

TEST(Flops, WindowsCountTheKeysThatAreSeen) {
  const int64_t length = 50, window = 8;
  int64_t seen = 0;
  for (int64_t t = 0; t < length; ++t) seen += std::min(t + 1, window);
  EXPECT_NEAR(window_span(length, window), 2.0 * static_cast<double>(seen) / length, 1);  // s counts half a key less
  EXPECT_DOUBLE_EQ(window_span(100, 0), 100);
  EXPECT_DOUBLE_EQ(window_span(100, 100), 100);
  EXPECT_DOUBLE_EQ(window_span(100, 500), 100);
  EXPECT_DOUBLE_EQ(window_span(100, 50), 75);

  auto model = gpt(2, 64, 1000);
  const auto all = training_flops(model, 8192);
  model.windows = {0, 0};
  EXPECT_DOUBLE_EQ(training_flops(model, 8192).matmul_causal, all.matmul_causal);
  model.windows = {1024, 0};
  const auto some = training_flops(model, 8192);
  EXPECT_DOUBLE_EQ(all.matmul_causal - some.matmul_causal, 6.0 * 64 * (8192 - window_span(8192, 1024)));
  EXPECT_DOUBLE_EQ(all.executed - some.executed, 14.0 * 64 * (8192 - window_span(8192, 1024) - 512) / 2);
}

/// A layer has 4 x 64^2 values of projections, 2 x 64 x 256 of gate and up, 64 x 256 of down.
MatmulSizes gated() {
  return {.layers = 3,
          .attention_width = 64,
          .layer_parameters = int64_t{3} * (4 * 64 * 64 + 3 * 64 * 256),
          .head_parameters = 1000 * 64,
          .inner_parameters = int64_t{3} * 2 * 64 * 256,
          .down_parameters = int64_t{3} * 64 * 256};
}

TEST(Flops, WhatIsComputedAgainCounts) {
  constexpr double kProjections = 2.0 * 4 * 64 * 64, kInwards = 2.0 * 2 * 64 * 256, kDown = 2.0 * 64 * 256;
  constexpr double kAttention = 2.0 * 2 * 64 * 128;  // two GEMMs over 128 keys, fewer than a block
  auto model = gated();
  const double plain = executed_per_token(model, 128);
  EXPECT_DOUBLE_EQ(plain,
                   6.0 * static_cast<double>(model.layer_parameters + model.head_parameters) + 3 * 3.5 * kAttention);
  const auto again = [&](const MemoryRecipe& memory) { return executed_per_token(model, 128, memory) - plain; };
  const MiniSequence automatic{MiniSequence::Kind::automatic, 0}, off;

  EXPECT_DOUBLE_EQ(again({}), 0);
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::mlp, .mini_sequence = {}}), 3 * kInwards);
  EXPECT_DOUBLE_EQ(again({.mini_sequence = {automatic, off, off}}), 3 * kInwards);
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::attention, .mini_sequence = {}}), 3 * (kProjections + kAttention));
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::attention, .mini_sequence = {automatic, off, off}}),
                   3 * (kProjections + kAttention + kInwards));
  const double layer = kProjections + kAttention + kInwards;
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .mini_sequence = {}}), 3 * layer);
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .mini_sequence = {automatic, automatic, off}}), 3 * layer);
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .keep_attention = true, .mini_sequence = {}}),
                   3 * (kProjections + kInwards));
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .recompute_every = 2, .mini_sequence = {}}), 2 * layer);
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .recompute_every = 2, .mini_sequence = {automatic, off, off}}),
                   2 * layer + kInwards);

  model.post_norms = true;
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::layer, .mini_sequence = {}}), 3 * (layer + kDown));
  EXPECT_DOUBLE_EQ(again({.recompute = Recompute::mlp, .mini_sequence = {}}), 3 * (kInwards + kDown));
}

TEST(Flops, OnlyTheLayersThatAreComputedAgainPayTheirWindow) {
  auto model = gated();
  model.windows = {0, 1024, 0};
  const MemoryRecipe second{.recompute = Recompute::layer, .recompute_every = 2, .mini_sequence = {}};
  const MemoryRecipe every{.recompute = Recompute::layer, .mini_sequence = {}};
  const double keys = (window_span(8192, 1024) + 2 * 512) / 2;
  EXPECT_DOUBLE_EQ(executed_per_token(model, 8192, every) - executed_per_token(model, 8192, second),
                   2.0 * 4 * 64 * 64 + 2.0 * 2 * 64 * 256 + 4 * 64 * keys);
}

}  // namespace
}  // namespace accordion
