#include "op/activation.h"

#include "op/cpu/tensors.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

const char* form_name(bool tanh) { return tanh ? "tanh" : "none"; }

struct Gelu : torch::autograd::Function<Gelu> {
  static Tensor forward(AutogradContext* context, const Tensor& any_x, bool tanh) {
    const Tensor x = any_x.contiguous();
    context->save_for_backward({x});
    context->saved_data["tanh"] = tanh;
    const auto type = cpu::kernel_type(x);
    if (!type) return at::gelu(x, form_name(tanh));
    Tensor y = torch::empty_like(x);
    cpu::gelu(*type, x.const_data_ptr(), y.mutable_data_ptr(), x.numel(), tanh);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0], dy = gradients[0].contiguous();
    const bool tanh = context->saved_data["tanh"].toBool();
    const auto type = cpu::kernel_type(x);
    if (!type) return {at::gelu_backward(dy, x, form_name(tanh)), Tensor()};
    Tensor dx = torch::empty_like(x);
    cpu::gelu_backward(*type, x.const_data_ptr(), dy.const_data_ptr(), dx.mutable_data_ptr(), x.numel(), tanh);
    return {dx, Tensor()};
  }
};

struct Swiglu : torch::autograd::Function<Swiglu> {
  static Tensor forward(AutogradContext* context, const Tensor& any_gate, const Tensor& any_up) {
    const Tensor gate = any_gate.contiguous(), up = any_up.contiguous();
    context->save_for_backward({gate, up});
    const auto type = cpu::kernel_type(gate);
    if (!type) return at::silu(gate).mul_(up);
    Tensor y = torch::empty_like(gate);
    cpu::swiglu(*type, gate.const_data_ptr(), up.const_data_ptr(), y.mutable_data_ptr(), gate.numel());
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1];
    const Tensor dy = gradients[0].contiguous();
    const auto type = cpu::kernel_type(gate);
    if (!type) return {at::silu_backward(dy * up, gate), dy * at::silu(gate)};
    Tensor dgate = torch::empty_like(gate), dup = torch::empty_like(up);
    cpu::swiglu_backward(*type, gate.const_data_ptr(), up.const_data_ptr(), dy.const_data_ptr(),
                         dgate.mutable_data_ptr(), dup.mutable_data_ptr(), gate.numel());
    return {dgate, dup};
  }
};

}  // namespace

Tensor gelu(const Tensor& x, bool tanh_approximation) { return Gelu::apply(x, tanh_approximation); }

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
              "swiglu wants two tensors of one shape and type, got ", gate.sizes(), " and ", up.sizes());
  return Swiglu::apply(gate, up);
}

}  // namespace accordion::op
