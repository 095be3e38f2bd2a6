#pragma once

#include "op/torch.h"

namespace accordion::op {

/// GELU, exact (erf) or its tanh approximation. Any shape.
torch::Tensor gelu(const torch::Tensor& x, bool tanh_approximation);

/// silu(gate) * up in one pass; the backward recomputes from both inputs. Any shape.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace accordion::op
