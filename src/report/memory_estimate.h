#pragma once

#include <cstdint>

#include "model/config.h"
#include "recipe/recipe.h"

namespace accordion {

/// Bytes of tensors that training holds at its peak, by formula. Libraries and their workspaces are left out.
struct MemoryEstimate {
  double weights = 0;      ///< in the precision of computation
  double gradients = 0;    ///< main gradients, f32
  double optimizer = 0;    ///< two f32 moments, and f32 master weights where the weights are bf16
  double activations = 0;  ///< of one pass: what the backward needs, and the larger of the head's and a layer's own
  double peak() const { return weights + gradients + optimizer + activations; }
};

/// What a forward and backward pass over `tokens` tokens holds.
MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t tokens, const MiniSequence& head);

/// The longest single row, a multiple of 64, whose training fits into `bytes`; never beyond a learned table. 0 = none.
int64_t longest_row(const ModelConfig& model, bool bf16, const MiniSequence& head, double bytes);

}  // namespace accordion
