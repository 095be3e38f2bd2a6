#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/transformer.h"

namespace accordion {

struct Sampling {
  int64_t max_tokens = 128;
  double temperature = 1;  ///< divides the logits; 0 = always the likeliest token
  double top_p = 1;        ///< keep the likeliest tokens whose probabilities before them sum up to less than this
  int64_t seed = 1;        ///< of the draws
  int64_t vocabulary = 0;  ///< only ids below it are drawn; 0 = all of the model's
  bool cache = true;       ///< false computes the whole sequence anew for each token (for tests)
};

/// Draws tokens that continue `prompt` (not empty). Each goes to `take` as soon as it is drawn; generation ends after
/// max_tokens or when `take` returns false. One pass over the prompt, then one row of length 1 a token. Holtzman et al.
/// 2020 for top_p. UserError where a learned table has fewer positions than prompt and max_tokens need.
void generate(const Transformer& model, const std::vector<int64_t>& prompt, const Sampling& sampling,
              const std::function<bool(int64_t)>& take);

}  // namespace accordion
