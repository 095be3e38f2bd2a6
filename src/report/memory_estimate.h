#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/machine.h"
#include "base/names.h"
#include "model/config.h"
#include "recipe/memory_recipe.h"

namespace accordion {

/// When in a step the most is held. The optimizer's own step works in place and holds nothing beside its state.
enum class Phase { forward, head, backward };
template <>
struct Names<Phase> {
  static constexpr std::array value{"forward", "head", "backward"};
};

/// Bytes of tensors that training holds at its peak, counted by playing a pass through. What the program takes beside
/// is left out: see process_bytes().
struct MemoryEstimate {
  double weights = 0;            ///< in the precision of computation
  double gradients = 0;          ///< main gradients, f32
  double optimizer = 0;          ///< two f32 moments, and f32 master weights where the weights are bf16; none on disk
  double activations = 0;        ///< of one pass, at its worst moment
  Phase worst = Phase::forward;  ///< the phase of that moment
  double forward = 0, head = 0, backward = 0;  ///< activations at the worst moment of each phase
  double kept = 0;                             ///< what the forward pass leaves for the backward pass
  double workspace = 0;                        ///< activations beyond that: of one layer, or of the head
  double mapped = 0;                           ///< no tensors, but resident in the backward pass: an input on disk
  double fixed() const { return weights + gradients + optimizer; }
  double peak() const { return fixed() + activations; }
  /// Tensors and what is mapped, where both together are the most.
  double resident() const { return fixed() + std::max(activations, backward + mapped); }
};

struct EstimateOptions {
  int64_t threads = usable_cores();             ///< that compute: attention's kernels have scratch for each
  bool native_bf16 = accordion::native_bf16();  ///< whether what computes multiplies bf16: GPUs do
  /// Bytes that weights, gradients and optimizer take in all for each parameter, in place of our own: to compare with
  /// systems that keep them otherwise.
  std::optional<double> bytes_per_parameter = {};
};

/// What a step over a microbatch of `rows` rows of `length` tokens holds.
MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t rows, int64_t length,
                               const MemoryRecipe& memory, const EstimateOptions& options = {});

/// The longest single row, a multiple of 64, whose resident() fits into `bytes` when it is trained; never beyond a
/// learned table. 0 = none.
int64_t longest_row(const ModelConfig& model, bool bf16, const MemoryRecipe& memory, double bytes,
                    const EstimateOptions& options = {});

/// The most rows of `length` tokens that fit when they go through in one pass.
int64_t most_rows(const ModelConfig& model, bool bf16, const MemoryRecipe& memory, double bytes, int64_t length,
                  const EstimateOptions& options = {});

/// What a process keeps resident that holds so many bytes at its peak (MemoryEstimate::resident): those, the program
/// with its libraries, and what allocator and libraries hold beside.
double process_bytes(double tensors);
/// The most tensors with which a process stays within `process` bytes: the inverse.
double tensor_bytes(double process);
/// The most tensors with which a step stays within so many resident bytes above those before it.
double activation_bytes(double resident);

}  // namespace accordion
