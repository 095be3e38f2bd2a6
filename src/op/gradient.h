#pragma once

#include <vector>

#include "op/torch.h"

namespace accordion::op {

/// Makes `weight` a trainable parameter whose `.grad` is an f32 buffer (its main gradient) whatever the weight's type,
/// set to zero. Gradients of chunks and microbatches add up in f32 there, never in bf16. (An f64 weight keeps f64.)
/// Without `main_gradient` the buffer is left to make_gradient().
void make_parameter(torch::Tensor& weight, bool main_gradient = true);

/// Takes a parameter's main gradient away, to be made anew, all zeros, before a backward pass that needs it: for
/// gradients that do not outlive their layer.
void drop_gradient(torch::Tensor& weight);
void make_gradient(torch::Tensor& weight);

/// Whether gradients of `weight` go straight into a main gradient.
bool has_main_gradient(const torch::Tensor& weight);

/// Where a custom backward leaves the gradient of a weight, times `factor`. A leaf that has a `.grad` takes it there at
/// once (in f32) and the function returns an undefined tensor to autograd; otherwise the gradient itself is returned,
/// as usual (finite-difference tests, people's own loops). The weight's AccumulateGrad node still runs once per
/// backward, after the last use of the weight, so a post hook on that node sees the finished gradient.
torch::Tensor give_gradient(const torch::Tensor& weight, const torch::Tensor& gradient, double factor = 1);

/// Same for the product gradient = a^T b, (M,I)^T (M,J) -> (I,J): in f32 one GEMM with beta = 1 into the main gradient;
/// in bf16 a bf16 GEMM followed by one fused f32 addition.
torch::Tensor give_product(const torch::Tensor& weight, const torch::Tensor& a, const torch::Tensor& b);

/// Same for the sums over the rows of x (N,I) -> (I), added in f32.
torch::Tensor give_row_sums(const torch::Tensor& weight, const torch::Tensor& x);

/// The incoming gradient of a custom backward with one output as a contiguous tensor that may be overwritten: itself,
/// or a copy where somebody else (retain_grad, a hook) holds it and must not see it change.
torch::Tensor take_over(std::vector<torch::Tensor>& gradients);

/// Sum of the squares of all values of all tensors, in one fixed order whatever the number of threads: added in f64, on
/// CUDA within 2^24 values by a tree in f32.
double sum_of_squares(const std::vector<torch::Tensor>& tensors);

/// Euclidean norm over all tensors together: what clipping compares with its bound.
double global_norm(const std::vector<torch::Tensor>& tensors);

/// Multiplies every tensor by `factor` in place.
void scale(const std::vector<torch::Tensor>& tensors, double factor);

}  // namespace accordion::op
