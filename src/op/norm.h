#pragma once

#include "op/torch.h"

namespace accordion::op {

/// y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension. Saves x and one f32 number a row.
/// x (...,D), weight (D). Zhang & Sennrich 2019, equation 4. With `plus_one` y is multiplied by 1 + weight instead (in
/// f32), as in Gemma, so that weight decay pulls towards the norm without weights.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, bool plus_one = false);

/// y = (x - mean) / sqrt(variance + epsilon) * weight + bias; bias may be undefined. Saves x and two f32 numbers a row.
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                         double epsilon);

}  // namespace accordion::op
