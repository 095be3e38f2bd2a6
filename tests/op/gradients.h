#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "op/torch.h"

namespace accordion::test {

using torch::Tensor;

/// A function of tensors with one tensor as its result.
using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;

inline Tensor random_tensor(at::IntArrayRef sizes, uint64_t seed, torch::ScalarType type = torch::kDouble) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn(sizes, generator, torch::kDouble).to(type);
}

/// Holds the gradients autograd gives for `function` against central differences in f64, every value of every input
/// that is a floating-point tensor. The result may have any shape: it is weighted with fixed random numbers first, so
/// that errors of its values do not cancel. A gradient may arrive in `.grad` or from autograd.
inline void ExpectGradients(const TensorFunction& function, std::vector<Tensor> inputs, double tolerance = 1e-6,
                            double step = 1e-5) {
  for (Tensor& input : inputs) {
    if (!input.is_floating_point()) continue;
    ASSERT_EQ(input.scalar_type(), torch::kDouble) << "finite differences need f64";
    input = input.detach().clone().requires_grad_(true);
  }
  const Tensor result = function(inputs);
  const Tensor mix = random_tensor(result.sizes(), 77);
  const auto value = [&] {
    torch::NoGradGuard no_grad;
    return (function(inputs) * mix).sum().item<double>();
  };
  (result * mix).sum().backward();
  for (size_t which = 0; which < inputs.size(); ++which) {
    if (!inputs[which].is_floating_point()) continue;
    ASSERT_TRUE(inputs[which].grad().defined()) << "input " << which << " got no gradient";
    const Tensor gradient = inputs[which].grad().contiguous().view(-1);
    Tensor flat = inputs[which].detach().view(-1);
    for (int64_t i = 0; i < flat.numel(); ++i) {
      const double at = flat[i].item<double>();
      flat[i] = at + step;
      const double above = value();
      flat[i] = at - step;
      const double below = value();
      flat[i] = at;
      const double expected = (above - below) / (2 * step), got = gradient[i].item<double>();
      ASSERT_NEAR(got, expected, tolerance * std::max(1.0, std::abs(expected)))
          << "gradient of input " << which << " " << inputs[which].sizes() << " at flat index " << i;
    }
  }
}

/// Largest absolute difference over the largest absolute value of `expected`.
inline double relative_error(const Tensor& got, const Tensor& expected) {
  const Tensor wide = expected.detach().to(torch::kDouble);
  const double size = wide.numel() == 0 ? 0 : wide.abs().max().item<double>();
  const double difference = wide.numel() == 0 ? 0 : (got.detach().to(torch::kDouble) - wide).abs().max().item<double>();
  return difference / std::max(size, 1e-30);
}

/// Root of the mean squared difference.
inline double rms_error(const Tensor& got, const Tensor& expected) {
  return (got.detach().to(torch::kDouble) - expected.detach().to(torch::kDouble)).square().mean().sqrt().item<double>();
}

/// `got` (bf16 or f32) may be at most `factor` times as far from the f64 truth as the plain path in the same type is,
/// give or take a few units in the last place of f32.
inline void ExpectAsExact(const Tensor& got, const Tensor& plain, const Tensor& truth, const std::string& what,
                          double factor = 2) {
  ASSERT_EQ(got.sizes(), truth.sizes()) << what;
  const double scale = truth.detach().to(torch::kDouble).square().mean().sqrt().item<double>();
  EXPECT_LE(rms_error(got, truth), factor * rms_error(plain, truth) + 4e-7 * scale)
      << what << ", rms of the truth " << scale;
}

}  // namespace accordion::test
