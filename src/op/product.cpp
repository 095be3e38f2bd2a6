#include "op/product.h"

#include "op/cpu/tensors.h"

// oneDNN's product with any strides. libtorch exports it and installs no header that declares it: a weak declaration,
// so that a libtorch without it (or with another signature) still links, and at::mm does the work.
namespace at::native {
__attribute__((weak)) void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& result, float beta,
                                         float alpha);
}

namespace accordion::op {

using torch::Tensor;

namespace {

using LinearPointwise = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                               c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

/// Tried once for each type: whether this libtorch and this processor have the product.
bool works(torch::ScalarType type) {
  const auto attempt = [](torch::ScalarType of) {
    if (at::native::mkldnn_matmul == nullptr || !at::globalContext().userEnabledMkldnn()) return false;
    try {
      const Tensor a = torch::ones({16, 16}, of), result = torch::zeros({16, 16}, of);
      at::native::mkldnn_matmul(a, a.t(), result, 0, 1);
      return result[15][15].item<float>() == 16;
    } catch (const c10::Error&) {
      return false;
    }
  };
  static const bool with_float = attempt(torch::kFloat), with_bf16 = attempt(torch::kBFloat16);
  return type == torch::kFloat ? with_float : type == torch::kBFloat16 && with_bf16;
}

bool through_onednn(const Tensor& a, const Tensor& b) {
  return a.device().is_cpu() && a.scalar_type() == b.scalar_type() && a.numel() > 0 && b.numel() > 0 &&
         works(a.scalar_type());
}

}  // namespace

Tensor product(const Tensor& a, const Tensor& b) {
  if (!through_onednn(a, b)) return a.mm(b);
  Tensor result = torch::empty({a.size(0), b.size(1)}, a.options());
  at::native::mkldnn_matmul(a, b, result, 0, 1);
  return result;
}

void add_product(Tensor& sum, const Tensor& a, const Tensor& b) {
  if (sum.scalar_type() != a.scalar_type()) {
    cpu::add_to(sum, product(a, b));
  } else if (through_onednn(a, b)) {
    at::native::mkldnn_matmul(a, b, sum, 1, 1);
  } else {
    sum.addmm_(a, b);
  }
}

Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!bias.defined()) return product(x, weight.t());
  if (!through_onednn(x, weight)) return at::linear(x, weight, bias);
  static const auto linear = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!linear) return product(x, weight.t()).add_(bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  return linear->typed<LinearPointwise>().call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(),
                                               std::nullopt);
}

}  // namespace accordion::op
