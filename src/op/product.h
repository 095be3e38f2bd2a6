#pragma once

#include "op/torch.h"

namespace accordion::op {

/// Sides of the f32 blocks in which bf16 matrices are multiplied where the processor cannot do so itself: three of them
/// are held at a time.
inline constexpr int64_t kWidened = 1024;

/// a b for matrices. On processors through oneDNN in f32 and bf16: for f32 libtorch itself goes to MKL, which was
/// measured to reach half of oneDNN's rate on AMD (97 against 213 GFLOP/s a core on Zen 5). bf16 on processors without
/// it is multiplied in f32, by blocks.
torch::Tensor product(const torch::Tensor& a, const torch::Tensor& b);

/// Adds a b to `sum`, in the type of `sum`; where that is wider than the type of a and b by one fused pass after the
/// product.
void add_product(torch::Tensor& sum, const torch::Tensor& a, const torch::Tensor& b);

/// x W^T + bias with the bias added inside of the product. x (N,I), weight (O,I), bias (O) or undefined -> (N,O).
torch::Tensor affine(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias);

/// The bf16 products of processors without bf16, apart for tests: a b + bias (which may be undefined), narrowed once,
/// and sum += a b in f32.
torch::Tensor widened_affine(const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& bias);
void add_widened_product(torch::Tensor& sum, const torch::Tensor& a, const torch::Tensor& b);

}  // namespace accordion::op
