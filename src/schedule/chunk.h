#pragma once

#include <cstdint>

#include "recipe/recipe.h"

namespace accordion {

/// Rows of a chunk of the head where `memory.mini_sequence.head` is auto: a power of two from 256 to 4,096 whose logits
/// number at most 2^26.
int64_t automatic_head_chunk(int64_t vocabulary);

/// Tokens of a chunk of the head in a pass over `tokens` tokens; 0 = all at once, by the plain operators.
int64_t head_chunk(const MiniSequence& form, int64_t vocabulary, int64_t tokens);

}  // namespace accordion
