#pragma once

#include "op/torch.h"

namespace accordion::op {

/// a b for matrices. On processors through oneDNN in f32 and bf16: for f32 libtorch itself goes to MKL, which was
/// measured to reach half of oneDNN's rate on AMD (97 against 213 GFLOP/s a core on Zen 5).
torch::Tensor product(const torch::Tensor& a, const torch::Tensor& b);

/// Adds a b to `sum`, in the type of `sum`; where that is wider than the type of a and b by one fused pass after the
/// product.
void add_product(torch::Tensor& sum, const torch::Tensor& a, const torch::Tensor& b);

/// x W^T + bias with the bias added inside of the product. x (N,I), weight (O,I), bias (O) or undefined -> (N,O).
torch::Tensor affine(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

}  // namespace accordion::op
