#pragma once

#include "op/torch.h"

namespace accordion::op {

/// GELU, exact (erf) or its tanh approximation. Any shape.
torch::Tensor gelu(const torch::Tensor& x, bool tanh_approximation);

/// silu(gate) * up in one pass; the backward recomputes from both inputs. Any shape.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

/// gelu(gate) * up with the tanh form of GELU, in the same way. Shazeer 2020, equation 6.
torch::Tensor geglu(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace accordion::op
