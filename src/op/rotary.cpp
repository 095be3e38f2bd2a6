#include "op/rotary.h"

#include "op/cpu/tensors.h"
#include "op/gradient.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// A tensor with x's memory that autograd takes for a new one.
Tensor in_place_of(const Tensor& x) { return torch::empty({0}, x.options()).set_(x); }

/// x (B,T,H,E), cos and sin (B,T,R/2) or (T,R/2); `sign` -1 turns back. The result is in x's place, or, where x is not
/// contiguous, a new tensor.
Tensor plain_turn(const Tensor& x, const Tensor& cos, const Tensor& sin, double sign) {
  const int64_t half = cos.size(-1);
  const auto type = cpu::wide_type(x);
  const Tensor c = cos.unsqueeze(-2), s = sin.unsqueeze(-2) * sign;  // (...,T,1,R/2)
  const Tensor first = x.slice(-1, 0, half).to(type);                // (B,T,H,R/2)
  const Tensor second = x.slice(-1, half, 2 * half).to(type);        // (B,T,H,R/2)
  Tensor y = x.is_contiguous() ? in_place_of(x) : x.clone(torch::MemoryFormat::Contiguous);
  const Tensor turned = first * c - second * s;
  y.slice(-1, half, 2 * half).copy_(second * c + first * s);
  y.slice(-1, 0, half).copy_(turned);
  return y;  // (B,T,H,E)
}

Tensor turn(const Tensor& any_x, const Tensor& cos, const Tensor& sin, double sign) {
  const auto type = cpu::kernel_type(any_x);
  if (!type || cos.scalar_type() != torch::kFloat || any_x.numel() == 0) return plain_turn(any_x, cos, sin, sign);
  const Tensor x = any_x.stride(3) == 1 ? any_x : any_x.contiguous();
  Tensor y = x.is_contiguous() ? in_place_of(x) : torch::empty(x.sizes(), x.options());
  const cpu::RotaryShape shape{x.size(0),   x.size(1),   x.size(2),   x.size(3),     cos.size(-1),
                               x.stride(0), x.stride(1), x.stride(2), cos.dim() == 3};
  RECORD_USER_SCOPE("accordion::rotary");
  cpu::rotate(*type, shape, x.const_data_ptr(), cos.contiguous().const_data_ptr<float>(),
              sin.contiguous().const_data_ptr<float>(), float(sign), y.mutable_data_ptr());
  return y;  // (B,T,H,E)
}

struct Rotate : torch::autograd::Function<Rotate> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& cos, const Tensor& sin) {
    context->save_for_backward({cos, sin});
    return turn(x, cos, sin, 1);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    return {turn(take_over(gradients), saved[0], saved[1], -1), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rotate_(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  TORCH_CHECK(x.dim() == 4 && cos.sizes() == sin.sizes() && 2 * cos.size(-1) <= x.size(3),
              "rotate_ wants x (B,T,H,E) and cos, sin (B,T,R/2) with R <= E, got ", x.sizes(), " and ", cos.sizes());
  return Rotate::apply(x, cos, sin);
}

}  // namespace accordion::op
