#pragma once

#include <cstdint>

#include "op/torch.h"

namespace accordion::op {

inline constexpr int64_t kIgnore = -100;  ///< a target that does not count

/// Sum of the cross-entropy of a linear head over the targets that count, divided by `denominator` (the target tokens
/// of the whole optimizer step, so that microbatches add up to one mean). hidden (N,D), weight (V,D), targets (N) int64
/// -> scalar f32. chunk = 0 builds all logits (N,V) at once and lets autograd keep them (the plain version); chunk = C
/// builds (C,V) at a time and computes the gradients in the forward pass (three GEMMs a chunk): nothing of size V x N
/// is ever held, and only the gradient of hidden is saved. The weight's gradient goes into its main gradient, scaled by
/// the incoming gradient.
torch::Tensor head_loss(const torch::Tensor& hidden, const torch::Tensor& weight, const torch::Tensor& targets,
                        int64_t denominator, int64_t chunk);

/// log p(target) of each row without the (N,V) log-probabilities: hidden (N,D), weight (V,D), targets (N) -> (N) f32; 0
/// where the target is kIgnore. The logits go through soft_cap_logits(). No gradient.
torch::Tensor head_log_probabilities(const torch::Tensor& hidden, const torch::Tensor& weight,
                                     const torch::Tensor& targets, double soft_cap = 0);

/// cap * tanh(logits / cap) in place, rounded to the logits' type at each step as transformers does; cap 0 = off. No
/// gradient.
void soft_cap_logits(torch::Tensor& logits, double cap);

}  // namespace accordion::op
