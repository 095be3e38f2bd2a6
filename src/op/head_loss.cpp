#include "op/head_loss.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "op/cpu/tensors.h"
#include "op/gradient.h"
#include "op/linear.h"
#include "op/product.h"
#include "schedule/chunk.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// The definition: losses of the rows of logits (N,V), not yet weighted -> (N), 0 where the target is kIgnore.
Tensor row_losses(const Tensor& logits, const Tensor& targets, const HeadForm& form) {
  const Tensor y = form.soft_cap > 0 ? (logits / form.soft_cap).tanh() * form.soft_cap : logits;  // (N,V)
  const Tensor loss =
      at::cross_entropy_loss(y, targets, {}, at::Reduction::None, kIgnore, form.label_smoothing);  // (N)
  if (form.z_loss == 0) return loss;
  return loss + y.logsumexp(-1).square() * (targets != kIgnore) * form.z_loss;
}

Tensor plain_head_loss(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const HeadForm& form) {
  const Tensor logits = op::linear(hidden, weight).to(cpu::wide_type(hidden));  // (N,V)
  const Tensor losses = row_losses(logits, targets, form);                      // (N)
  return (form.token_weights.defined() ? losses * form.token_weights : losses).sum() / form.denominator;
}

/// The rows that count. `places` is undefined where all do: then nothing is gathered.
struct CountedRows {
  Tensor places;            ///< (R) int64, rows of hidden
  Tensor targets, weights;  ///< (R), weights f32 or undefined
  int64_t count = 0;        ///< R
};

CountedRows counted_rows(const Tensor& targets, const Tensor& token_weights, int64_t vocabulary) {
  CountedRows rows{{}, targets.contiguous(), {}, targets.numel()};
  if (token_weights.defined()) rows.weights = token_weights.to(targets.device(), torch::kFloat).contiguous();
  Tensor counts = targets != kIgnore;  // (N)
  if (rows.weights.defined()) counts = counts.logical_and(rows.weights != 0);
  if (!counts.all().item<bool>()) {
    rows.places = counts.nonzero().squeeze(1);                 // (R)
    rows.targets = rows.targets.index_select(0, rows.places);  // (R)
    if (rows.weights.defined()) rows.weights = rows.weights.index_select(0, rows.places);
    rows.count = rows.places.numel();
  }
  if (rows.count > 0) {
    const auto least = rows.targets.min().item<int64_t>(), most = rows.targets.max().item<int64_t>();
    TORCH_CHECK_INDEX(least >= 0 && most < vocabulary, "target ", least < 0 ? least : most,
                      " is outside of the vocabulary of ", vocabulary);
  }
  return rows;
}

/// Losses (C) of rows that count, times their weights (C). Where `gradient` is true the logits (C,V) become the
/// gradients of the losses over the denominator.
Tensor plain_softmax_loss(Tensor& logits, const Tensor& targets, const Tensor& weights, const HeadForm& form,
                          bool gradient) {
  const auto type = cpu::wide_type(logits);
  const torch::AutoGradMode mode(gradient);
  const Tensor in = logits.detach().to(type).requires_grad_(gradient);  // (C,V)
  Tensor losses = row_losses(in, targets, form);                        // (C)
  if (weights.defined()) losses = losses * weights;
  if (gradient) logits.copy_(torch::autograd::grad({losses.sum() / form.denominator}, {in})[0]);
  return losses.detach();
}

/// The same by one fused pass over each row where the logits are on a processor.
Tensor softmax_loss(Tensor& logits, const Tensor& targets, const Tensor& weights, const HeadForm& form, bool gradient) {
  const auto type = cpu::kernel_type(logits);
  if (!type) return plain_softmax_loss(logits, targets, weights, form, gradient);
  Tensor losses = torch::empty(targets.sizes(), logits.options().dtype(torch::kFloat));  // (C)
  const cpu::LossForm how{.factor = float(1 / form.denominator),
                          .soft_cap = float(form.soft_cap),
                          .z_loss = form.z_loss,
                          .label_smoothing = form.label_smoothing};
  RECORD_USER_SCOPE("accordion::softmax_loss");
  cpu::softmax_loss(*type, how, logits.const_data_ptr(), targets.const_data_ptr<int64_t>(),
                    weights.defined() ? weights.const_data_ptr<float>() : nullptr, targets.numel(), logits.size(1),
                    losses.mutable_data_ptr<float>(), gradient ? logits.mutable_data_ptr() : nullptr);
  return losses;
}

/// A chunk on its way through `before` and back; without that it stays what it is.
class Entry {
 public:
  Entry(const BeforeHead& before, const Tensor& x) : passes_(bool(before)), x_(x.detach()), y_(x_) {
    if (!passes_) return;
    const torch::AutoGradMode with_gradients(true);
    y_ = before(x_.requires_grad_(true));
  }
  Tensor values() const { return y_.detach(); }
  Tensor back(const Tensor& dy) const {
    if (!passes_) return dy;
    torch::autograd::backward({y_}, {dy});
    return x_.grad();
  }

 private:
  bool passes_;
  Tensor x_, y_;
};

/// What by_chunks leaves beside the loss; undefined = not wanted.
struct Results {
  Tensor dhidden;  ///< (N,D) gets hidden's gradient; may be hidden itself
  Tensor dweight;  ///< (V,D), as wide as sums want: has the weight's gradient added to it
  Tensor losses;   ///< (N), zeros before: those of the rows that count
};

/// The loss of all rows, a scalar f64.
Tensor by_chunks(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const HeadForm& form, Results to,
                 const BeforeHead& before = {}) {
  torch::NoGradGuard no_grad;
  const CountedRows rows = counted_rows(targets, form.token_weights, weight.size(0));
  const bool gathered = rows.places.defined(), overwrites = to.dhidden.is_same(hidden);
  if (gathered && to.dhidden.defined() && !overwrites) to.dhidden.zero_();
  Tensor loss = torch::zeros({}, hidden.options().dtype(torch::kDouble));
  for (int64_t begin = 0; begin < rows.count; begin += form.chunk) {
    const int64_t end = std::min(begin + form.chunk, rows.count);
    const auto part = [&](const Tensor& all) { return all.defined() ? all.slice(0, begin, end) : all; };
    const auto put = [&](Tensor& all, const Tensor& values) {
      gathered ? all.index_copy_(0, part(rows.places), values) : part(all).copy_(values);
    };
    const Tensor x = gathered ? hidden.index_select(0, part(rows.places)) : part(hidden);  // (C,D)
    const Entry entry(before, x);
    const Tensor h = entry.values();         // (C,D)
    Tensor logits = product(h, weight.t());  // (C,V)
    const Tensor losses = softmax_loss(logits, part(rows.targets), part(rows.weights), form,
                                       to.dhidden.defined() || to.dweight.defined());  // (C)
    const Tensor& dlogits = logits;                                                    // (C,V)
    loss += losses.sum(torch::kDouble);
    if (to.losses.defined()) put(to.losses, losses);
    if (to.dweight.defined()) add_product(to.dweight, dlogits.t(), h);  // before h may be overwritten
    if (to.dhidden.defined()) put(to.dhidden, entry.back(product(dlogits, weight)));
  }
  if (gathered && overwrites) {
    Tensor others = torch::ones(targets.sizes(), targets.options().dtype(torch::kBool));  // (N)
    to.dhidden.masked_fill_(others.index_fill_(0, rows.places, false).unsqueeze(1), 0);
  }
  return loss.div_(form.denominator);
}

/// Gradients are made beside the loss, chunk by chunk, for an incoming gradient of 1; the backward scales them.
struct ChunkedHeadLoss : torch::autograd::Function<ChunkedHeadLoss> {
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        const HeadForm& form) {
    const Tensor dhidden = hidden.requires_grad() ? torch::empty_like(hidden) : Tensor();  // (N,D)
    const auto wide = weight.options().dtype(cpu::wide_type(weight));
    const Tensor dweight = weight.requires_grad() ? torch::zeros(weight.sizes(), wide) : Tensor();  // (V,D)
    const Tensor loss = by_chunks(hidden, weight, targets, form, {dhidden, dweight, {}});
    context->save_for_backward({weight, dhidden, dweight});
    return loss.to(cpu::wide_type(hidden));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &weight = saved[0], &dhidden = saved[1], &dweight = saved[2], &incoming = gradients[0];
    const auto factor = incoming.item<double>();
    return {dhidden.defined() ? (factor == 1 ? dhidden : dhidden * factor) : Tensor(),
            dweight.defined() ? give_gradient(weight, dweight, factor) : Tensor(), Tensor(), Tensor()};
  }
};

/// A root of the graph that leaves to x whatever gradient lies ready for it.
struct GradientSource : torch::autograd::Function<GradientSource> {
  struct Held : torch::CustomClassHolder {
    explicit Held(std::shared_ptr<Tensor> held) : gradient(std::move(held)) {}
    std::shared_ptr<Tensor> gradient;
  };

  static Tensor forward(AutogradContext* context, const Tensor& x, const std::shared_ptr<Tensor>& gradient) {
    context->saved_data["held"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(gradient));
    return torch::zeros({}, x.options());
  }

  static variable_list backward(AutogradContext* context, const variable_list& /*one*/) {
    Tensor& gradient = *c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule())->gradient;
    TORCH_CHECK(gradient.defined(), "a second backward pass from a gradient that has been handed over");
    variable_list result(2);
    result[0] = std::move(gradient);
    return result;
  }
};

void check(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const HeadForm& form) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1) && targets.dim() == 1 &&
                  targets.size(0) == hidden.size(0),
              "the head wants hidden (N,D), weight (V,D), targets (N), got ", hidden.sizes(), ", ", weight.sizes(),
              ", ", targets.sizes());
  TORCH_CHECK(!form.token_weights.defined() || form.token_weights.sizes() == targets.sizes(),
              "the head wants token weights (N), got ", form.token_weights.sizes());
  TORCH_CHECK(form.chunk >= 0 && form.denominator > 0 && form.soft_cap >= 0 && form.label_smoothing >= 0 &&
                  form.label_smoothing <= 1,
              "the head's form is out of range");
}

}  // namespace

Tensor head_loss(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const HeadForm& form) {
  check(hidden, weight, targets, form);
  if (form.chunk == 0) return plain_head_loss(hidden, weight, targets, form);
  if (torch::GradMode::is_enabled() && (hidden.requires_grad() || weight.requires_grad())) {
    return ChunkedHeadLoss::apply(hidden, weight, targets, form);
  }
  return by_chunks(hidden, weight, targets, form, {}).to(cpu::wide_type(hidden));
}

double head_step(Tensor& hidden, const Tensor& weight, const Tensor& targets, const HeadForm& form,
                 const BeforeHead& before) {
  check(hidden, weight, targets, form);
  TORCH_CHECK(form.chunk > 0, "head_step goes by chunks");
  TORCH_CHECK(hidden.is_contiguous() && !hidden.requires_grad(), "head_step overwrites hidden: pass a contiguous leaf");
  TORCH_CHECK(!weight.requires_grad() || has_main_gradient(weight), "head_step wants a weight with a main gradient");
  const Tensor dweight = weight.requires_grad() ? weight.grad() : Tensor();
  return by_chunks(hidden, weight, targets, form, {hidden, dweight, {}}, before).item<double>();
}

HandOver::HandOver(const Tensor& x)
    : gradient_(std::make_shared<Tensor>()), root_(GradientSource::apply(x, gradient_)) {}

void HandOver::backward(Tensor gradient) {
  *gradient_ = std::move(gradient);
  root_.backward();
}

Tensor head_log_probabilities(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double soft_cap) {
  const HeadForm form{.chunk = automatic_head_chunk(weight.size(0)), .soft_cap = soft_cap};
  check(hidden, weight, targets, form);
  const Tensor losses = torch::zeros(targets.sizes(), hidden.options().dtype(cpu::wide_type(hidden)));  // (N)
  by_chunks(hidden, weight, targets, form, {{}, {}, losses});
  return -losses;
}

void soft_cap_logits(Tensor& logits, double cap) {
  if (cap > 0) logits.div_(cap).tanh_().mul_(cap);
}

}  // namespace accordion::op
