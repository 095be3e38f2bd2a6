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
    RECORD_USER_SCOPE("accordion::gelu");
    cpu::gelu(*type, x.const_data_ptr(), y.mutable_data_ptr(), x.numel(), tanh);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor x = context->get_saved_variables()[0], dy = gradients[0].contiguous();
    const bool tanh = context->saved_data["tanh"].toBool();
    const auto type = cpu::kernel_type(x);
    if (!type) return {at::gelu_backward(dy, x, form_name(tanh)), Tensor()};
    Tensor dx = torch::empty_like(x);
    RECORD_USER_SCOPE("accordion::gelu_backward");
    cpu::gelu_backward(*type, x.const_data_ptr(), dy.const_data_ptr(), dx.mutable_data_ptr(), x.numel(), tanh);
    return {dx, Tensor()};
  }
};

/// f(gate) * up; the form is a cpu::Gate, as a number so that autograd carries it.
struct Gated : torch::autograd::Function<Gated> {
  static Tensor forward(AutogradContext* context, const Tensor& any_gate, const Tensor& any_up, int64_t form) {
    const Tensor gate = any_gate.contiguous(), up = any_up.contiguous();
    context->save_for_backward({gate, up});
    context->saved_data["form"] = form;
    const auto type = cpu::kernel_type(gate);
    if (!type) return plain(gate, form).mul_(up);
    Tensor y = torch::empty_like(gate);
    RECORD_USER_SCOPE("accordion::gated");
    cpu::gated(*type, cpu::Gate(form), gate.const_data_ptr(), up.const_data_ptr(), y.mutable_data_ptr(), gate.numel());
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1];
    const Tensor dy = gradients[0].contiguous();
    const int64_t form = context->saved_data["form"].toInt();
    const auto type = cpu::kernel_type(gate);
    if (!type) return {plain_backward(dy * up, gate, form), dy * plain(gate, form), Tensor()};
    Tensor dgate = torch::empty_like(gate), dup = torch::empty_like(up);
    RECORD_USER_SCOPE("accordion::gated_backward");
    cpu::gated_backward(*type, cpu::Gate(form), gate.const_data_ptr(), up.const_data_ptr(), dy.const_data_ptr(),
                        dgate.mutable_data_ptr(), dup.mutable_data_ptr(), gate.numel());
    return {dgate, dup, Tensor()};
  }

 private:
  static Tensor plain(const Tensor& gate, int64_t form) {
    return cpu::Gate(form) == cpu::Gate::silu ? at::silu(gate) : at::gelu(gate, form_name(true));
  }
  static Tensor plain_backward(const Tensor& dvalue, const Tensor& gate, int64_t form) {
    if (cpu::Gate(form) == cpu::Gate::silu) return at::silu_backward(dvalue, gate);
    return at::gelu_backward(dvalue, gate, form_name(true));
  }
};

Tensor gated(const Tensor& gate, const Tensor& up, cpu::Gate form) {
  TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
              "a gated activation wants two tensors of one shape and type, got ", gate.sizes(), " and ", up.sizes());
  return Gated::apply(gate, up, int64_t(form));
}

}  // namespace

Tensor gelu(const Tensor& x, bool tanh_approximation) { return Gelu::apply(x, tanh_approximation); }

Tensor swiglu(const Tensor& gate, const Tensor& up) { return gated(gate, up, cpu::Gate::silu); }

Tensor geglu(const Tensor& gate, const Tensor& up) { return gated(gate, up, cpu::Gate::gelu_tanh); }

}  // namespace accordion::op
