#pragma once

#include "op/torch.h"

namespace accordion::op {

/// y = x W^T + b. x (...,I), weight (O,I), bias (O) or undefined -> (...,O). The backward adds the weight's gradient
/// into its main gradient (see gradient.h). Where the values of y will not be `read` (a replay that only wants the way
/// back), the product is left out and y is one number of no meaning, in the right shape.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias = {},
                     bool read = true);

/// Rows of a table. ids (...) int64, weight (V,D) -> (...,D). The backward adds rows into the main gradient and never
/// makes a dense (V,D) tensor where the weight has one; a tied head shares the buffer. The row `padding` gets nothing
/// from here, as with torch.nn.Embedding's padding_idx; -1 = every row does.
torch::Tensor embedding(const torch::Tensor& ids, const torch::Tensor& weight, int64_t padding = -1);

}  // namespace accordion::op
