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

/// `span` of each layer's window stands for s.
double flops_of(const MatmulSizes& model, const Accounting& accounting, auto span) {
  double spans = 0;  // of all layers
  for (const auto window : model.windows) spans += span(window);
  if (model.windows.empty()) spans = static_cast<double>(model.layers) * span(0);
  return accounting.layer * static_cast<double>(model.layer_parameters) +
         accounting.head * static_cast<double>(model.head_parameters) +
         accounting.attention * spans * static_cast<double>(model.attention_width);
}

}  // namespace

double window_span(double s, int64_t window) {
  const auto w = static_cast<double>(window);
  return window == 0 || w >= s ? s : s - (s - w) * (s - w) / s;
}

double flops_per_token(const MatmulSizes& model, const Accounting& accounting, double s) {
  return flops_of(model, accounting, [s](int64_t window) { return window_span(s, window); });
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

double executed_per_token(const MatmulSizes& model, double s) {
  constexpr auto kBlock = static_cast<double>(kAttentionBlock);
  return flops_of(model, {.layer = 6, .head = 6, .attention = 14}, [s](int64_t window) {
    const double span = window_span(s, window), edges = span < s ? 2 : 1;
    return std::fmin(s, (span + edges * kBlock) / 2);
  });
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

Flops training_flops(const MatmulSizes& model, double s) {
  return {.matmul_full = flops_per_token(model, kMatmulFull, s),
          .matmul_causal = flops_per_token(model, kMatmulCausal, s),
          .causal_flash = flops_per_token(model, kCausalFlash, s),
          .executed = executed_per_token(model, s)};
}

}  // namespace accordion
