#include "report/memory_estimate.h"

#include <algorithm>
#include <cmath>

namespace accordion {
namespace {

/// Bytes a token leaves behind for the backward pass of all layers: inputs and outputs of both norms (D each), rotated
/// q, k and v, attention's output and its f32 log-sum-exp, and what the MLP multiplies.
double kept_per_token(const ModelConfig& model, double element) {
  const auto width = static_cast<double>(model.width), inner = static_cast<double>(model.inner);
  const auto heads = static_cast<double>(model.heads * model.head_width),
             kv_heads = static_cast<double>(model.kv_heads * model.head_width);
  const double mlp = (model.mlp == MlpKind::swiglu ? 3 : 2) * inner;
  const double statistics = 4 * static_cast<double>(model.heads) + 16;
  return static_cast<double>(model.layers) * (element * (4 * width + 2 * heads + 2 * kv_heads + mlp) + statistics);
}

/// The gradients alive within one layer's backward pass.
double temporary_per_token(const ModelConfig& model, double element) {
  return element * (4 * static_cast<double>(model.width) + 3 * static_cast<double>(model.inner));
}

/// The head and its loss: all logits with their log-softmax, or one chunk of f32 logits and the hidden states'
/// gradient.
double head_bytes(const ModelConfig& model, double element, double tokens, const MiniSequence& head) {
  const auto vocabulary = static_cast<double>(model.vocabulary);
  double chunk = 0;
  switch (head.kind) {
    case MiniSequence::Kind::off:
      return tokens * vocabulary * (element + 8);
    case MiniSequence::Kind::automatic:
      chunk = std::max(256.0, std::floor(kHeadLogits / vocabulary / 64) * 64);
      break;
    case MiniSequence::Kind::tokens:
      chunk = static_cast<double>(head.amount);
      break;
    case MiniSequence::Kind::count:
      chunk = std::ceil(tokens / static_cast<double>(head.amount));
      break;
  }
  return std::fmin(chunk, tokens) * vocabulary * (element + 4) + tokens * static_cast<double>(model.width) * element;
}

}  // namespace

MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t tokens, const MiniSequence& head) {
  const double element = bf16 ? 2 : 4;
  const auto parameters = static_cast<double>(model.parameters()), count = static_cast<double>(tokens);
  return {.weights = element * parameters,
          .gradients = 4 * parameters,
          .optimizer = (bf16 ? 12 : 8) * parameters,
          .activations = count * (kept_per_token(model, element) + temporary_per_token(model, element)) +
                         head_bytes(model, element, count, head)};
}

int64_t longest_row(const ModelConfig& model, bool bf16, const MiniSequence& head, double bytes) {
  constexpr int64_t kStep = 64;
  int64_t low = 0, high = int64_t{1} << 30;  // in steps: low fits, high does not
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (estimate_memory(model, bf16, middle * kStep, head).peak() <= bytes ? low : high) = middle;
  }
  if (model.position == PositionKind::learned) return std::min(low * kStep, model.max_positions);
  return low * kStep;
}

}  // namespace accordion
