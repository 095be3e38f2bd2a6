#pragma once

#include <cstdint>

#include "recipe/recipe.h"

namespace accordion {

/// Rows of a chunk of the head where `memory.mini_sequence.head` is auto: a power of two from 256 to 4,096 whose logits
/// number at most 2^26.
int64_t automatic_head_chunk(int64_t vocabulary);

/// Tokens of a chunk of the MLP, and queries of a chunk of a layer, where they are auto: twice as many as the model is
/// wide, in multiples of 256 from 2,048. Luo et al. 2024 (section 3.4) take the width, from where on the weights are
/// read no more often than the activations. Each chunk also adds into the f32 gradient of the weights, and lays them
/// out for its products once more: `bench step` over 4,096 tokens and one layer of models/llama-3-proportions.json in
/// f32, on 2 cores with AVX2, took 2 % longer than plain recomputation at the width and 1 % at twice the width. Does
/// not depend on the row, so a schedule of lengths does not change how sums are formed.
int64_t automatic_layer_chunk(int64_t width);

/// Tokens of such a chunk in a pass (or row) of `tokens` tokens; 0 = all at once, not folded.
int64_t layer_chunk(const MiniSequence& form, int64_t width, int64_t tokens);

/// Tokens of a chunk of the head in a pass over `tokens` tokens; 0 = all at once, by the plain operators.
int64_t head_chunk(const MiniSequence& form, int64_t vocabulary, int64_t tokens);

}  // namespace accordion
