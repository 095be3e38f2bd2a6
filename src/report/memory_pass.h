#pragma once

#include <cstdint>

#include "model/config.h"
#include "recipe/memory_recipe.h"

namespace accordion {

/// Bytes of the tensors that a forward and backward pass holds beside weights, gradients and optimizer state.
struct PassMemory {
  double kept = 0;      ///< at the end of the forward pass: what waits for the backward pass
  double forward = 0;   ///< at most, up to the end of the final norm
  double head = 0;      ///< at most, in the head, its loss and their gradients
  double backward = 0;  ///< at most, in the layers' backward pass
};

/// Plays a pass over `rows` rows of `length` tokens through: every tensor of model/transformer.cpp, memory/fold.cpp and
/// the operators comes and goes in their order, in bytes. Costs some microseconds a layer, whatever the length.
/// `threads` compute: the attention kernels have scratch for each. Where the machine has no `native_bf16`, products of
/// bf16 have some of their own.
PassMemory play_pass(const ModelConfig& model, bool bf16, int64_t rows, int64_t length, const MemoryRecipe& memory,
                     int64_t threads, bool native_bf16);

}  // namespace accordion
