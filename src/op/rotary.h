#pragma once

#include "op/torch.h"

namespace accordion::op {

/// Rotates the first R = 2 * cos.size(-1) values of every head in half-split pairs (i, i + R/2), as Hugging Face does;
/// the rest passes through. x (B,T,H,E), cos and sin (B,T,R/2) or (T,R/2) in f32. Works in place where x is contiguous:
/// the result has x's memory, so x must be nobody else's. The backward is the inverse rotation, in place as well, and
/// saves only cos and sin. Su et al. 2021, equation 34.
torch::Tensor rotate_(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin);

}  // namespace accordion::op
