#include "report/memory_estimate.h"

#include <algorithm>

#include "schedule/chunk.h"

namespace accordion {
namespace {

/// Bytes a token leaves behind for the backward pass of all layers: inputs and outputs of both norms (D each; parallel
/// residuals share one input), rotated q, k and v, attention's output and its f32 log-sum-exp, what the MLP multiplies
/// (F each); then the input and output of the last norm. Norms' statistics are f32.
double kept_per_token(const ModelConfig& model, double element) {
  const auto width = static_cast<double>(model.width), inner = static_cast<double>(model.inner);
  const auto heads = static_cast<double>(model.heads * model.head_width),
             kv_heads = static_cast<double>(model.kv_heads * model.head_width);
  const double residual = (model.parallel_residual ? 3 : 4) * width;
  const double mlp = (model.mlp == MlpKind::swiglu ? 3 : 2) * inner;
  const double statistics = 4 * static_cast<double>(model.heads) + 16;
  return static_cast<double>(model.layers) * (element * (residual + 2 * heads + 2 * kv_heads + mlp) + statistics) +
         element * 2 * width;
}

/// The most that the backward pass of a layer holds beside what was kept: at its MLP's activation, where the gradients
/// of its inputs (two for SwiGLU) are there and those of the residual stream wait.
double temporary_per_token(const ModelConfig& model, double element) {
  const double inner = (model.mlp == MlpKind::swiglu ? 2 : 1) * static_cast<double>(model.inner);
  return element * (2 * static_cast<double>(model.width) + inner);
}

/// The head and its loss. By chunks: a chunk's logits, which become their gradients in place, the gradient of its
/// hidden states, which then takes their place, and where the weight is narrower than its main gradient a product of
/// its type. All at once: f32 log-probabilities, their gradient and that of the logits.
double head_bytes(const ModelConfig& model, double element, int64_t tokens, const MiniSequence& head) {
  const auto vocabulary = static_cast<double>(model.vocabulary), width = static_cast<double>(model.width);
  const auto count = static_cast<double>(tokens);
  const auto chunk = static_cast<double>(std::min(head_chunk(head, model.vocabulary, tokens), tokens));
  if (chunk == 0) return count * vocabulary * 12;
  return element * (chunk * vocabulary + (element < 4 ? std::max(chunk, vocabulary) : chunk) * width);
}

}  // namespace

MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t tokens, const MiniSequence& head) {
  const double element = bf16 ? 2 : 4;
  const auto parameters = static_cast<double>(model.parameters()), count = static_cast<double>(tokens);
  return {
      .weights = element * parameters,
      .gradients = 4 * parameters,
      .optimizer = (bf16 ? 12 : 8) * parameters,
      .activations = count * kept_per_token(model, element) +
                     std::max(head_bytes(model, element, tokens, head), count * temporary_per_token(model, element))};
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
