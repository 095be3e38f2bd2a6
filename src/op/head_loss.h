#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "op/torch.h"

namespace accordion::op {

inline constexpr int64_t kIgnore = -100;  ///< a target that does not count

/// The loss of a row with capped logits y, target t and l = log(sum over v of e^y[v]) is
///   (1 - label_smoothing) (l - y[t]) + label_smoothing * mean over v of (l - y[v]) + z_loss * l^2
/// times its token weight, over the denominator; 0 where the target is kIgnore. Label smoothing: Szegedy et al. 2016,
/// section 7, as torch.nn.functional.cross_entropy; z-loss: Chowdhery et al. 2022 (PaLM), section 5; soft cap: Gemma
/// Team 2024 (Gemma 2), section 2.
struct HeadForm {
  int64_t chunk = 0;                 ///< rows of logits at a time; 0 = all at once, by libtorch's operators
  double denominator = 1;            ///< target tokens (or the sum of their weights) of the whole optimizer step
  double soft_cap = 0;               ///< y = cap * tanh(logits / cap); 0: y = logits
  double z_loss = 0;                 ///< factor of l^2
  double label_smoothing = 0;        ///< share of the target that is spread over the vocabulary, 0..1
  torch::Tensor token_weights = {};  ///< (N) f32; undefined = 1
};

/// Sum of the losses of a linear head over the rows: hidden (N,D), weight (V,D), targets (N) int64 -> scalar f32.
/// chunk = 0 builds all logits (N,V) at once and lets autograd keep them: the definition. chunk = C builds (C,V) at a
/// time and computes the gradients in the forward pass (three GEMMs a chunk): nothing of size V x N is ever held, but
/// the gradients of hidden and, in f32, of the weight wait for the backward pass. Rows that do not count (target
/// kIgnore, or token weight 0) are left out of the products. The weight's gradient goes into its main gradient. Luo et
/// al. 2024 (arXiv 2407.15892), algorithms 2 and 4; Hsu et al. 2024 (arXiv 2410.10989).
torch::Tensor head_loss(const torch::Tensor& hidden, const torch::Tensor& weight, const torch::Tensor& targets,
                        const HeadForm& form);

/// What comes right before the head, for rows of it alone: a final norm. (C,D) -> (C,D); autograd can go back through
/// it.
using BeforeHead = std::function<torch::Tensor(const torch::Tensor&)>;

/// The same loss by chunks (form.chunk > 0) outside of autograd, for an incoming gradient of 1, with nothing left to
/// wait: the weight's gradient is added to its main gradient, chunk by chunk (a weight that needs none is left alone),
/// and hidden's takes the place of its values, 0 in rows that do not count. With `before`, the head reads
/// before(hidden) instead, a chunk at a time, so that its output never exists as a whole; gradients of its weights go
/// into their
/// `.grad`. hidden is contiguous and needs no gradient, as `detach()` of what the model returned: see HandOver.
/// Beside the arguments it holds the logits of a chunk, some tensors like the chunk's hidden states and, in bf16, one
/// product of the weight's size and type. Returns the loss. As the weight takes no part in the graph here, a hook on
/// its AccumulateGrad node sees only its other uses.
double head_step(torch::Tensor& hidden, const torch::Tensor& weight, const torch::Tensor& targets, const HeadForm& form,
                 const BeforeHead& before = {});

/// Goes back from x as x.backward(gradient) does, but keeps neither alive: where the caller has moved the gradient in
/// and let go of x, the function that x came from may overwrite it. Made before the gradient takes the place of x's
/// values: autograd must not meet x after that.
class HandOver {
 public:
  explicit HandOver(const torch::Tensor& x);
  void backward(torch::Tensor gradient);

 private:
  std::shared_ptr<torch::Tensor> gradient_;
  torch::Tensor root_;
};

/// log p(target) of each row without the (N,V) log-probabilities: hidden (N,D), weight (V,D), targets (N) -> (N) f32; 0
/// where the target is kIgnore. No gradient.
torch::Tensor head_log_probabilities(const torch::Tensor& hidden, const torch::Tensor& weight,
                                     const torch::Tensor& targets, double soft_cap = 0);

/// Puts a soft cap on logits in place; cap 0 leaves them. No gradient.
void soft_cap_logits(torch::Tensor& logits, double cap);

}  // namespace accordion::op
