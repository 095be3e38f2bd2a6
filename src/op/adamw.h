#pragma once

#include "op/torch.h"

namespace accordion::op {

struct AdamW {
  double lr, beta1, beta2, epsilon, weight_decay;
  int64_t step;           ///< counts from 1, for the bias correction
  double gradient_scale;  ///< multiplies the gradient first (clipping)
};

/// One AdamW update in f32, in one pass, equal to torch.optim.AdamW (Loshchilov & Hutter 2019): `master`, `first` and
/// `second` (any shape, f32) are updated in place from `gradient` (f32), which may be left scaled; where `weight` is
/// another tensor (bf16), it gets the master's value rounded to nearest even.
void adamw_step(torch::Tensor& master, torch::Tensor& weight, const torch::Tensor& gradient, torch::Tensor& first,
                torch::Tensor& second, const AdamW& form);

}  // namespace accordion::op
