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

double flops_per_token(const MatmulSizes& model, const Accounting& accounting, double s) {
  return accounting.layer * static_cast<double>(model.layer_parameters) +
         accounting.head * static_cast<double>(model.head_parameters) +
         accounting.attention * static_cast<double>(model.layers) * s * static_cast<double>(model.attention_width);
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
  const double keys = std::fmin(s, (s + static_cast<double>(kAttentionBlock)) / 2);
  return flops_per_token(model, {.layer = 6, .head = 6, .attention = 14}, keys);
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
