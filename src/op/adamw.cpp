#include "op/adamw.h"

#include <cmath>
#include <optional>

#include "op/cpu/tensors.h"

namespace accordion::op {

using torch::Tensor;

namespace {

void plain_adamw_step(Tensor& master, Tensor& weight, const Tensor& gradient, Tensor& first, Tensor& second,
                      const AdamW& form, double correction1, double correction2) {
  const Tensor g = gradient * form.gradient_scale;
  master.mul_(1 - form.lr * form.weight_decay);
  first.lerp_(g, 1 - form.beta1);
  second.mul_(form.beta2).addcmul_(g, g, 1 - form.beta2);
  master.addcdiv_(first, (second.sqrt() / correction2).add_(form.epsilon), -form.lr / correction1);
  if (!weight.is_same(master)) weight.copy_(master);
}

/// libtorch's kernel: one pass, with nothing held beside the arguments. It scales the gradient in its place.
void cuda_adamw_step(const Tensor& master, const Tensor& gradient, const Tensor& first, const Tensor& second,
                     const AdamW& form) {
  const auto number = master.options().dtype(torch::kFloat).requires_grad(false);
  const Tensor step = torch::full({}, double(form.step), number);
  std::optional<Tensor> divisor;
  if (form.gradient_scale != 1) divisor = torch::full({}, 1 / form.gradient_scale, number);
  at::_fused_adamw_({master}, {gradient}, {first}, {second}, {}, {step}, form.lr, form.beta1, form.beta2,
                    form.weight_decay, form.epsilon, /*amsgrad=*/false, /*maximize=*/false, divisor);
}

}  // namespace

void adamw_step(Tensor& master, Tensor& weight, const Tensor& gradient, Tensor& first, Tensor& second,
                const AdamW& form) {
  torch::NoGradGuard no_grad;
  const double correction1 = 1 - std::pow(form.beta1, double(form.step));
  const double correction2 = std::sqrt(1 - std::pow(form.beta2, double(form.step)));
  const bool narrow = !weight.is_same(master);
  const auto on_cuda = [](const Tensor& t) {
    return t.is_contiguous() && t.is_cuda() && t.scalar_type() == torch::kFloat;
  };
  if (on_cuda(master) && on_cuda(gradient) && on_cuda(first) && on_cuda(second)) {
    cuda_adamw_step(master, gradient, first, second, form);
    if (narrow) weight.copy_(master);
    return;
  }
  const auto fits = [](const Tensor& t) { return t.is_contiguous() && cpu::kernel_type(t) == cpu::Type::f32; };
  if (!fits(master) || !fits(gradient) || !fits(first) || !fits(second) ||
      (narrow && (weight.scalar_type() != torch::kBFloat16 || !weight.is_contiguous()))) {
    return plain_adamw_step(master, weight, gradient, first, second, form, correction1, correction2);
  }
  const cpu::AdamWFactors factors{float(1 - form.lr * form.weight_decay),
                                  float(form.beta1),
                                  float(form.beta2),
                                  float(form.lr / correction1),
                                  float(1 / correction2),
                                  float(form.epsilon),
                                  float(form.gradient_scale)};
  RECORD_USER_SCOPE("accordion::adamw");
  cpu::adamw(factors, master.mutable_data_ptr<float>(),
             narrow ? static_cast<cpu::bf16*>(weight.mutable_data_ptr()) : nullptr, gradient.const_data_ptr<float>(),
             first.mutable_data_ptr<float>(), second.mutable_data_ptr<float>(), master.numel());
}

}  // namespace accordion::op
