#include "report/memory_estimate.h"

#include <algorithm>
#include <functional>

#include "report/memory_pass.h"

namespace accordion {
namespace {

/// Parameters whose gradients are there at once: all of them; or, where each is used up as soon as it is whole, those
/// of the largest of a layer, the head and the embedding, and the vectors that norms and biases are.
double gradient_parameters(const ModelConfig& model, bool in_backward) {
  const auto all = static_cast<double>(model.parameters());
  if (!in_backward) return all;
  const auto layers = static_cast<double>(model.layers), head = static_cast<double>(model.head_parameters());
  const double tables =
      model.position == PositionKind::learned ? static_cast<double>(model.max_positions * model.width) : 0;
  return std::max((all - head * (model.tied_head ? 1 : 2) - tables) / layers, head);
}

}  // namespace

MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t rows, int64_t length,
                               const MemoryRecipe& memory, const EstimateOptions& options) {
  const auto parameters = static_cast<double>(model.parameters());
  const auto pass = play_pass(model, bf16, rows, length, memory, options.threads, options.native_bf16);
  MemoryEstimate estimate{.weights = (bf16 ? 2 : 4) * parameters,
                          .gradients = 4 * gradient_parameters(model, memory.optimizer_in_backward != InBackward::off),
                          .optimizer = memory.offload.optimizer ? 0 : (bf16 ? 12 : 8) * parameters,
                          .activations = std::max({pass.forward, pass.head, pass.backward}),
                          .forward = pass.forward,
                          .head = pass.head,
                          .backward = pass.backward,
                          .kept = pass.kept};
  if (memory.offload.to == Offload::disk)
    estimate.mapped = (bf16 ? 2 : 4) * static_cast<double>(rows * length * model.width);
  if (options.bytes_per_parameter) {
    estimate.gradients = 0;
    estimate.optimizer = std::max(0.0, *options.bytes_per_parameter * parameters - estimate.weights);
  }
  estimate.worst = pass.backward == estimate.activations ? Phase::backward
                   : pass.head == estimate.activations   ? Phase::head
                                                         : Phase::forward;
  estimate.workspace = std::max(0.0, estimate.activations - pass.kept);
  return estimate;
}

namespace {

/// The largest n from 0 for which fits(n), where that holds up to some n and not beyond it.
int64_t largest(int64_t limit, const std::function<bool(int64_t n)>& fits) {
  int64_t low = 0, high = limit;  // low fits, high does not
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

int64_t longest_row(const ModelConfig& model, bool bf16, const MemoryRecipe& memory, double bytes,
                    const EstimateOptions& options) {
  constexpr int64_t kStep = 64;
  const int64_t longest = kStep * largest(int64_t{1} << 30, [&](int64_t steps) {
                            return estimate_memory(model, bf16, 1, steps * kStep, memory, options).resident() <= bytes;
                          });
  return model.position == PositionKind::learned ? std::min(longest, model.max_positions) : longest;
}

int64_t most_rows(const ModelConfig& model, bool bf16, const MemoryRecipe& memory, double bytes, int64_t length,
                  const EstimateOptions& options) {
  return largest(int64_t{1} << 20, [&](int64_t rows) {
    return estimate_memory(model, bf16, rows, length, memory, options).resident() <= bytes;
  });
}

// Measured; see docs/methods.md.
namespace {
constexpr double kProgram = 155.0 * (1 << 20);  // the program and libtorch
constexpr double kBeside = 64.0 * (1 << 20);    // blocks that the allocator keeps beyond its high-water mark
}  // namespace

double process_bytes(double tensors) { return tensors + kProgram + kBeside; }

double tensor_bytes(double process) { return process - kProgram - kBeside; }

double activation_bytes(double resident) { return resident - kBeside; }

}  // namespace accordion
