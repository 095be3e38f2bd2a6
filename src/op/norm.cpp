#include "op/norm.h"

#include <optional>
#include <tuple>

#include "op/cpu/tensors.h"
#include "op/gradient.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// Both norms: y = (x - mean) * rstd * weight + bias; an RMS norm has neither mean nor bias, but maybe 1 + weight.
struct Norm : torch::autograd::Function<Norm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias, bool centred, bool plus_one, double epsilon) {
    context->saved_data["plus_one"] = plus_one;
    if (const auto type = fused_type(x, weight, bias)) {
      return fused(context, *type, x, weight, bias, {x.numel() / x.size(-1), x.size(-1), centred, plus_one, epsilon});
    }
    context->saved_data["fused"] = false;
    if (library(x, weight, plus_one)) return by_library(context, x, weight, bias, centred, epsilon);
    const Tensor wide_x = x.to(cpu::wide_type(x));
    const Tensor mean = centred ? wide_x.mean(-1, true) : Tensor();          // (...,1)
    const Tensor middle = centred ? wide_x - mean : wide_x;                  // (...,D)
    const Tensor rstd = (middle.square().mean(-1, true) + epsilon).rsqrt();  // (...,1)
    Tensor y = middle * rstd * factor(weight, x, plus_one);                  // (...,D)
    if (bias) y = y + *bias;
    context->save_for_backward({x, weight, bias.value_or(Tensor()), mean, rstd});
    return y.to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &rstd = saved[4];
    if (context->saved_data["fused"].toBool()) return fused_backward(context, gradients[0]);
    if (library(x, weight, context->saved_data["plus_one"].toBool())) return library_backward(context, gradients[0]);
    const Tensor dy = gradients[0].to(cpu::wide_type(x)).reshape({-1, x.size(-1)});  // (N,D)
    const Tensor wide_x = x.to(cpu::wide_type(x));
    const Tensor normal = ((mean.defined() ? wide_x - mean : wide_x) * rstd).view(dy.sizes());  // (N,D)
    const Tensor g = dy * factor(weight, x, context->saved_data["plus_one"].toBool());          // (N,D)
    Tensor inner = g - normal * (g * normal).mean(-1, true);                                    // (N,D)
    if (mean.defined()) inner = inner - g.mean(-1, true);
    const Tensor dx = (inner * rstd.view({-1, 1})).view(x.sizes()).to(x.scalar_type());
    Tensor dweight, dbias;
    if (context->needs_input_grad(1)) dweight = give_gradient(weight, (dy * normal).sum(0));     // (D)
    if (bias.defined() && context->needs_input_grad(2)) dbias = give_gradient(bias, dy.sum(0));  // (D)
    return {dx, dweight, dbias, Tensor(), Tensor(), Tensor()};
  }

 private:
  /// What normalised values are multiplied by; 1 + weight in the type of the arithmetic.
  static Tensor factor(const Tensor& weight, const Tensor& x, bool plus_one) {
    return plus_one ? weight.to(cpu::wide_type(x)) + 1 : weight;
  }

  /// libtorch's own kernels, on CUDA. A weight that counts from 1 they would read as bf16, which cannot hold it.
  static bool library(const Tensor& x, const Tensor& weight, bool plus_one) {
    return x.is_cuda() && x.scalar_type() == weight.scalar_type() && x.numel() > 0 && !plus_one;
  }

  static Tensor by_library(AutogradContext* context, const Tensor& any_x, const Tensor& weight,
                           const std::optional<Tensor>& bias, bool centred, double epsilon) {
    const Tensor x = any_x.contiguous();  // (...,D)
    Tensor y, mean, rstd;                 // (...,D), (...,1), (...,1)
    if (centred) {
      std::tie(y, mean, rstd) = at::native_layer_norm(x, {x.size(-1)}, weight, bias, epsilon);
    } else {
      std::tie(y, rstd) = at::_fused_rms_norm(x, {x.size(-1)}, weight, epsilon);
    }
    context->save_for_backward({x, weight, bias.value_or(Tensor()), mean, rstd});
    return y;
  }

  /// The gradients of weight and bias are summed here, in f32.
  static variable_list library_backward(AutogradContext* context, const Tensor& any_dy) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &rstd = saved[4];
    const Tensor dy = any_dy.contiguous();  // (...,D)
    const int64_t D = x.size(-1);
    const Tensor dx = mean.defined()
                          ? std::get<0>(at::native_layer_norm_backward(dy, x, {D}, mean, rstd, weight,
                                                                       bias_or_none(bias), {true, false, false}))
                          : std::get<0>(at::_fused_rms_norm_backward(dy, x, {D}, rstd, weight, {true, false}));
    Tensor dweight, dbias;
    if (context->needs_input_grad(1)) {
      Tensor normal = (mean.defined() ? x - mean : x).view({-1, D}) * rstd.reshape({-1, 1});  // (N,D)
      dweight = give_gradient(weight, normal.mul_(dy.view({-1, D})).sum(0));
    }
    if (bias.defined() && context->needs_input_grad(2)) dbias = give_row_sums(bias, dy.view({-1, D}));
    return {dx, dweight, dbias, Tensor(), Tensor(), Tensor()};
  }

  static std::optional<Tensor> bias_or_none(const Tensor& bias) {
    return bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
  }

  /// The kernels want one type throughout.
  static std::optional<cpu::Type> fused_type(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias) {
    const bool same = weight.scalar_type() == x.scalar_type() && (!bias || bias->scalar_type() == x.scalar_type());
    return same && x.numel() > 0 ? cpu::kernel_type(x) : std::nullopt;
  }

  static Tensor fused(AutogradContext* context, cpu::Type type, const Tensor& any_x, const Tensor& weight,
                      const std::optional<Tensor>& bias, const cpu::NormShape& shape) {
    const bool centred = shape.centred;
    const Tensor x = any_x.contiguous();  // (...,D)
    const auto numbers = x.options().dtype(torch::kFloat);
    const Tensor mean = centred ? torch::empty({shape.N}, numbers) : Tensor();  // (N)
    const Tensor rstd = torch::empty({shape.N}, numbers);                       // (N)
    Tensor y = torch::empty_like(x);                                            // (...,D)
    RECORD_USER_SCOPE("accordion::norm");
    cpu::norm(type, shape, x.const_data_ptr(), weight.contiguous().const_data_ptr(),
              bias ? bias->contiguous().const_data_ptr() : nullptr, y.mutable_data_ptr(),
              centred ? mean.mutable_data_ptr<float>() : nullptr, rstd.mutable_data_ptr<float>());
    context->save_for_backward({x, weight, bias.value_or(Tensor()), mean, rstd});
    context->saved_data["fused"] = true;
    return y;
  }

  static variable_list fused_backward(AutogradContext* context, const Tensor& any_dy) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mean = saved[3], &rstd = saved[4];
    const Tensor dy = any_dy.contiguous();
    const cpu::NormShape shape{rstd.numel(), x.size(-1), mean.defined(), context->saved_data["plus_one"].toBool(), 0};
    const bool wants_bias = bias.defined() && context->needs_input_grad(2);
    const auto sums = [&](bool wanted) { return wanted ? torch::empty({shape.D}, rstd.options()) : Tensor(); };
    const Tensor dweight = sums(context->needs_input_grad(1)), dbias = sums(wants_bias);  // (D)
    Tensor dx = torch::empty_like(x);                                                     // (...,D)
    const auto place = [](const Tensor& t) { return t.defined() ? t.mutable_data_ptr<float>() : nullptr; };
    RECORD_USER_SCOPE("accordion::norm_backward");
    cpu::norm_backward(*cpu::kernel_type(x), shape, x.const_data_ptr(), weight.contiguous().const_data_ptr(),
                       place(mean), place(rstd), dy.const_data_ptr(), dx.mutable_data_ptr(), place(dweight),
                       place(dbias));
    return {dx,
            dweight.defined() ? give_gradient(weight, dweight) : Tensor(),
            dbias.defined() ? give_gradient(bias, dbias) : Tensor(),
            Tensor(),
            Tensor(),
            Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double epsilon, bool plus_one) {
  return Norm::apply(x, weight, std::nullopt, false, plus_one, epsilon);
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double epsilon) {
  return Norm::apply(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, true, false, epsilon);
}

}  // namespace accordion::op
