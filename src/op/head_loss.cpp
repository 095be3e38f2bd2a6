#include "op/head_loss.h"

#include <algorithm>

#include "op/cpu/tensors.h"
#include "op/gradient.h"
#include "op/product.h"
#include "schedule/chunk.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// Loss of each row, 0 where the target is kIgnore: logits (C,V), targets (C) -> (C). Where `gradient` is true the
/// logits become factor * (softmax - onehot), with rows of 0 where the target is kIgnore.
Tensor plain_softmax_loss(Tensor& logits, const Tensor& targets, double factor, bool gradient) {
  const auto type = cpu::wide_type(logits);
  const Tensor loss = at::cross_entropy_loss(logits.to(type), targets, {}, at::Reduction::None, kIgnore);  // (C)
  if (!gradient) return loss;
  Tensor share = logits.to(type).softmax(-1);                        // (C,V)
  const Tensor counts = (targets != kIgnore).to(type).unsqueeze(1);  // (C,1)
  share.scatter_add_(1, targets.clamp_min(0).unsqueeze(1), -torch::ones_like(counts));
  logits.copy_(share.mul_(counts.mul_(factor)));
  return loss;
}

/// The same by one fused pass over each row where the logits are on a processor.
Tensor softmax_loss(Tensor& logits, const Tensor& targets, double factor, bool gradient) {
  const auto type = cpu::kernel_type(logits);
  if (!type) return plain_softmax_loss(logits, targets, factor, gradient);
  const int64_t V = logits.size(1);
  const auto* places = targets.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < targets.numel(); ++i) {
    TORCH_CHECK_INDEX(places[i] == kIgnore || (places[i] >= 0 && places[i] < V), "target ", places[i],
                      " is outside of the vocabulary of ", V);
  }
  Tensor loss = torch::empty(targets.sizes(), logits.options().dtype(torch::kFloat));  // (C)
  cpu::softmax_loss(*type, logits.const_data_ptr(), places, targets.numel(), V, kIgnore, float(factor),
                    loss.mutable_data_ptr<float>(), gradient ? logits.mutable_data_ptr() : nullptr);
  return loss;
}

/// Gradients are made beside the loss, chunk by chunk, for an incoming gradient of 1; the backward scales them.
struct ChunkedHeadLoss : torch::autograd::Function<ChunkedHeadLoss> {
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        int64_t denominator, int64_t chunk) {
    const bool wants_hidden = hidden.requires_grad(), wants_weight = weight.requires_grad();
    const double factor = 1.0 / double(denominator);
    Tensor loss = torch::zeros({}, hidden.options().dtype(torch::kDouble));
    Tensor dhidden = wants_hidden ? torch::empty_like(hidden) : Tensor();  // (N,D)
    Tensor dweight = wants_weight ? torch::zeros(weight.sizes(), weight.options().dtype(cpu::wide_type(weight)))
                                  : Tensor();  // (V,D)
    for (int64_t begin = 0; begin < hidden.size(0); begin += chunk) {
      const int64_t end = std::min(begin + chunk, hidden.size(0));
      const Tensor h = hidden.slice(0, begin, end);  // (C,D)
      Tensor logits = product(h, weight.t());        // (C,V)
      loss += softmax_loss(logits, targets.slice(0, begin, end), factor, true).sum(torch::kDouble);
      const Tensor& dlogits = logits;  // (C,V)
      if (wants_hidden) dhidden.slice(0, begin, end).copy_(product(dlogits, weight));
      if (wants_weight) add_product(dweight, dlogits.t(), h);
    }
    context->save_for_backward({weight, dhidden, dweight});
    return loss.mul_(factor).to(cpu::wide_type(hidden));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &weight = saved[0], &dhidden = saved[1], &dweight = saved[2], &incoming = gradients[0];
    const auto factor = incoming.item<double>();
    return {dhidden.defined() ? (factor == 1 ? dhidden : dhidden * factor) : Tensor(),
            dweight.defined() ? give_gradient(weight, dweight, factor) : Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

void check(const Tensor& hidden, const Tensor& weight, const Tensor& targets) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1) && targets.dim() == 1 &&
                  targets.size(0) == hidden.size(0),
              "head_loss wants hidden (N,D), weight (V,D), targets (N), got ", hidden.sizes(), ", ", weight.sizes(),
              ", ", targets.sizes());
}

}  // namespace

Tensor head_loss(const Tensor& hidden, const Tensor& weight, const Tensor& targets, int64_t denominator,
                 int64_t chunk) {
  check(hidden, weight, targets);
  if (chunk == 0) {
    const Tensor logits = at::linear(hidden, weight).to(cpu::wide_type(hidden));  // (N,V)
    return at::cross_entropy_loss(logits, targets, {}, at::Reduction::Sum, kIgnore) / double(denominator);
  }
  if (torch::GradMode::is_enabled() && (hidden.requires_grad() || weight.requires_grad())) {
    return ChunkedHeadLoss::apply(hidden, weight, targets, denominator, chunk);
  }
  const Tensor all = head_log_probabilities(hidden, weight, targets);
  return (-all.sum(torch::kDouble) / double(denominator)).to(all.scalar_type());
}

Tensor head_log_probabilities(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double soft_cap) {
  check(hidden, weight, targets);
  torch::NoGradGuard no_grad;
  const int64_t chunk = automatic_head_chunk(weight.size(0));
  Tensor result = torch::empty(targets.sizes(), hidden.options().dtype(cpu::wide_type(hidden)));  // (N)
  for (int64_t begin = 0; begin < hidden.size(0); begin += chunk) {
    const int64_t end = std::min(begin + chunk, hidden.size(0));
    Tensor logits = product(hidden.slice(0, begin, end), weight.t());  // (C,V)
    soft_cap_logits(logits, soft_cap);
    result.slice(0, begin, end).copy_(softmax_loss(logits, targets.slice(0, begin, end), 1, false).neg_());
  }
  return result;
}

void soft_cap_logits(Tensor& logits, double cap) {
  if (cap > 0) logits.div_(cap).tanh_().mul_(cap);
}

}  // namespace accordion::op
