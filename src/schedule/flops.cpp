#include "schedule/flops.h"

#include <algorithm>
#include <cmath>

namespace accordion {
namespace {

/// Sums up squared lengths and lengths of pieces.
struct Moments {
  double squares = 0, lengths = 0;
  void add(const std::vector<int64_t>& pieces) {
    for (const auto piece : pieces) {
      const auto length = static_cast<double>(piece);
      squares += length * length;
      lengths += length;
    }
  }
  double ratio() const { return lengths > 0 ? squares / lengths : 0; }
};

}  // namespace

double window_span(double s, int64_t window) {
  const auto w = static_cast<double>(window);
  return window == 0 || w >= s ? s : s - (s - w) * (s - w) / s;
}

double flops_per_token(const MatmulSizes& model, const Accounting& accounting, double s) {
  double spans = 0;  // of all layers: each one's window stands for s
  for (const auto window : model.windows) spans += window_span(s, window);
  if (model.windows.empty()) spans = static_cast<double>(model.layers) * s;
  return accounting.layer * static_cast<double>(model.layer_parameters) +
         accounting.head * static_cast<double>(model.head_parameters) +
         accounting.attention * spans * static_cast<double>(model.attention_width);
}

double effective_length(const std::vector<int64_t>& pieces) {
  Moments moments;
  moments.add(pieces);
  return moments.ratio();
}

double effective_length(const std::vector<std::vector<int64_t>>& rows) {
  Moments moments;
  for (const auto& pieces : rows) moments.add(pieces);
  return moments.ratio();
}

double executed_per_token(const MatmulSizes& model, double s, const MemoryRecipe& memory) {
  constexpr auto kBlock = static_cast<double>(kAttentionBlock);
  const auto layers = static_cast<double>(model.layers);
  const auto inner = static_cast<double>(model.inner_parameters), down = static_cast<double>(model.down_parameters);
  const double projections = (static_cast<double>(model.layer_parameters) - inner - down) / layers;  // of one layer
  const double inwards = (inner + (model.post_norms ? down : 0)) / layers;  // what goes through an MLP again
  const bool mlps = memory.recompute == Recompute::mlp || memory.mini_sequence.mlp.kind != MiniSequence::Kind::off;
  double flops = 6 * static_cast<double>(model.layer_parameters + model.head_parameters);
  for (int64_t l = 0; l < model.layers; ++l) {
    const double span = window_span(s, model.windows.empty() ? 0 : model.windows[static_cast<size_t>(l)]);
    const double keys = std::fmin(s, (span + (span < s ? 2 : 1) * kBlock) / 2);
    const bool layer = memory.recompute == Recompute::layer && l % memory.recompute_every == 0;
    const bool attention = layer || memory.recompute == Recompute::attention;
    // A GEMM of attention is 2 * keys * width.
    const double products = attention && !memory.keep_attention ? 7 + 2 : 7;
    flops += 2 * products * keys * static_cast<double>(model.attention_width);
    if (attention) flops += 2 * projections;
    if (layer || mlps) flops += 2 * inwards;
  }
  return flops;
}

Flops& Flops::operator+=(const Flops& other) {
  matmul_full += other.matmul_full;
  matmul_causal += other.matmul_causal;
  causal_flash += other.causal_flash;
  executed += other.executed;
  return *this;
}

Flops operator*(double times, const Flops& flops) {
  return {times * flops.matmul_full, times * flops.matmul_causal, times * flops.causal_flash, times * flops.executed};
}

Flops training_flops(const MatmulSizes& model, double s, const MemoryRecipe& memory) {
  return {.matmul_full = flops_per_token(model, kMatmulFull, s),
          .matmul_causal = flops_per_token(model, kMatmulCausal, s),
          .causal_flash = flops_per_token(model, kCausalFlash, s),
          .executed = executed_per_token(model, s, memory)};
}

}  // namespace accordion
