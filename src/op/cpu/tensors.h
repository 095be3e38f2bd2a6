#pragma once

#include <optional>

#include "op/cpu/kernels.h"
#include "op/torch.h"

/// Between tensors and the kernels' plain pointers.
namespace accordion::op::cpu {

/// The kernels' name for the type of x, where they can work on it.
inline std::optional<Type> kernel_type(const torch::Tensor& x) {
  if (!x.device().is_cpu()) return std::nullopt;
  if (x.scalar_type() == torch::kFloat) return Type::f32;
  if (x.scalar_type() == torch::kBFloat16) return Type::bf16;
  return std::nullopt;
}

/// The type that rows are computed in: f32 for bf16 and f32, f64 for f64 (finite differences).
inline torch::ScalarType wide_type(const torch::Tensor& x) {
  return x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
}

/// sum += factor * x, in one pass on processors. `sum` is at least as wide as x.
inline void add_to(torch::Tensor sum, const torch::Tensor& x, double factor = 1) {
  const auto type = kernel_type(x);
  if (type && sum.scalar_type() == torch::kFloat && sum.is_contiguous() && x.is_contiguous() &&
      sum.sizes() == x.sizes()) {
    add(*type, x.const_data_ptr(), float(factor), sum.mutable_data_ptr<float>(), x.numel());
  } else {
    sum.add_(x, factor);
  }
}

}  // namespace accordion::op::cpu
