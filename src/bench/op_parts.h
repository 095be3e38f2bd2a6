#pragma once

#include "bench/op.h"
#include "memory/device.h"
#include "op/gradient.h"

/// What the cases of operators are made of.
namespace accordion::bench {

using torch::Tensor;

inline double as_double(int64_t count) { return static_cast<double>(count); }
inline double element_bytes(const OpSizes& sizes) { return as_double(int64_t(torch::elementSize(sizes.type))); }

inline std::vector<int64_t> lengths_or(const OpSizes& sizes, std::vector<int64_t> own) {
  return sizes.lengths.empty() ? own : sizes.lengths;
}

inline Tensor random(at::IntArrayRef shape, torch::ScalarType type, bool gradient = true) {
  return torch::randn(shape, device()).to(type).requires_grad_(gradient);
}

inline Tensor parameter(at::IntArrayRef shape, torch::ScalarType type) {
  Tensor weight = torch::randn(shape, device()).to(type);
  op::make_parameter(weight);
  return weight;
}

/// Forward, then backward from a gradient of ones; the gradients of `inputs` do not add up from run to run.
inline std::function<void()> both(std::vector<Tensor> inputs, std::function<Tensor()> forward) {
  return [inputs = std::move(inputs), forward = std::move(forward)] {
    for (const Tensor& input : inputs) input.mutable_grad().reset();
    const Tensor y = forward();
    y.backward(torch::ones_like(y));
  };
}

std::vector<OpCase> mlp_cases(const OpSizes& sizes);
std::vector<OpCase> head_cases(const OpSizes& sizes);
std::vector<OpCase> loss_cases(const OpSizes& sizes);
std::vector<OpCase> attention_cases(const OpSizes& sizes);
std::vector<OpCase> norm_cases(const OpSizes& sizes);
std::vector<OpCase> activation_cases(const OpSizes& sizes);
std::vector<OpCase> rotary_cases(const OpSizes& sizes);
std::vector<OpCase> linear_cases(const OpSizes& sizes);
std::vector<OpCase> update_cases(const OpSizes& sizes);

}  // namespace accordion::bench
