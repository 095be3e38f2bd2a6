#pragma once

#include <cstdint>

#include "model/config.h"
#include "recipe/recipe.h"

namespace accordion {

/// Bytes that training holds, by formula; a few per cent off what is measured, allocator and libraries left out.
struct MemoryEstimate {
  double weights = 0;      ///< in the precision of computation
  double gradients = 0;    ///< main gradients, f32
  double optimizer = 0;    ///< two f32 moments, and f32 master weights where the weights are bf16
  double activations = 0;  ///< of one pass: what the backward needs, the head's chunk, one layer's temporaries
  double peak() const { return weights + gradients + optimizer + activations; }
};

/// Logits of one chunk of the head where `memory.mini_sequence.head` is auto (op/head_loss.h).
inline constexpr double kHeadLogits = 1 << 25;

/// What a forward and backward pass over `tokens` tokens holds.
MemoryEstimate estimate_memory(const ModelConfig& model, bool bf16, int64_t tokens, const MiniSequence& head);

/// The longest single row, a multiple of 64, whose training fits into `bytes`; never beyond a learned table. 0 = none.
int64_t longest_row(const ModelConfig& model, bool bf16, const MiniSequence& head, double bytes);

}  // namespace accordion
