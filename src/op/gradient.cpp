#include "op/gradient.h"

#include <torch/csrc/autograd/variable.h>

#include <cmath>

#include "op/cpu/tensors.h"
#include "op/product.h"

namespace accordion::op {

using torch::Tensor;

namespace {

constexpr int64_t kAtOnce = int64_t{1} << 24;  // values whose squares are not added in f64

}  // namespace

bool has_main_gradient(const Tensor& weight) {
  return weight.is_leaf() && weight.requires_grad() && weight.grad().defined();
}

void make_parameter(Tensor& weight, bool main_gradient) {
  weight.requires_grad_(true);
  torch::autograd::impl::get_autograd_meta(weight)->set_grad_dtype(cpu::wide_type(weight), weight);
  if (main_gradient) make_gradient(weight);
}

void make_gradient(Tensor& weight) {
  weight.mutable_grad() =
      torch::zeros_like(weight, torch::TensorOptions().dtype(cpu::wide_type(weight)).requires_grad(false));
}

void drop_gradient(Tensor& weight) { weight.mutable_grad().reset(); }

Tensor give_gradient(const Tensor& weight, const Tensor& gradient, double factor) {
  torch::NoGradGuard no_grad;
  if (!has_main_gradient(weight)) return (factor == 1 ? gradient : gradient * factor).to(weight.scalar_type());
  RECORD_USER_SCOPE("accordion::add_gradient");
  cpu::add_to(weight.grad(), gradient, factor);
  return {};
}

Tensor give_product(const Tensor& weight, const Tensor& a, const Tensor& b) {
  torch::NoGradGuard no_grad;
  if (!has_main_gradient(weight)) return product(a.t(), b);
  Tensor main = weight.grad();
  add_product(main, a.t(), b);  // (I,J)
  return {};
}

Tensor give_row_sums(const Tensor& weight, const Tensor& x) {
  torch::NoGradGuard no_grad;
  const auto type = cpu::kernel_type(x);
  if (!type || !has_main_gradient(weight) || !x.is_contiguous()) {
    return give_gradient(weight, x.sum(0, /*keepdim=*/false, cpu::wide_type(x)));
  }
  RECORD_USER_SCOPE("accordion::column_sums");
  cpu::add_column_sums(*type, x.const_data_ptr(), x.size(0), x.size(1), weight.grad().mutable_data_ptr<float>());
  return {};
}

Tensor take_over(std::vector<Tensor>& gradients) {
  constexpr size_t kAutograds = 2;  // once in autograd's own list, once in `gradients`
  const bool unique = gradients[0].use_count() <= kAutograds && gradients[0].is_contiguous();
  Tensor mine = std::move(gradients[0]);
  gradients.clear();
  return unique ? mine : mine.clone(torch::MemoryFormat::Contiguous);
}

double sum_of_squares(const std::vector<Tensor>& tensors) {
  torch::NoGradGuard no_grad;
  double sum = 0;
  for (const Tensor& tensor : tensors) {
    const auto type = cpu::kernel_type(tensor);
    if (type && tensor.is_contiguous()) {
      RECORD_USER_SCOPE("accordion::sum_of_squares");
      sum += cpu::sum_of_squares(*type, tensor.const_data_ptr(), tensor.numel());
    } else {
      const Tensor values = tensor.reshape(-1);
      Tensor squares = torch::zeros({}, values.options().dtype(torch::kDouble));
      for (int64_t begin = 0; begin < values.numel(); begin += kAtOnce) {
        const Tensor part = values.slice(0, begin, begin + kAtOnce);
        squares += at::linalg_vector_norm(part, 2, {}, false, cpu::wide_type(part)).to(torch::kDouble).square();
      }
      sum += squares.item<double>();
    }
  }
  return sum;
}

double global_norm(const std::vector<Tensor>& tensors) { return std::sqrt(sum_of_squares(tensors)); }

void scale(const std::vector<Tensor>& tensors, double factor) {
  torch::NoGradGuard no_grad;
  for (Tensor tensor : tensors) {
    const auto type = cpu::kernel_type(tensor);
    if (type && tensor.is_contiguous()) {
      void* values = tensor.mutable_data_ptr();
      cpu::scale(*type, values, float(factor), values, tensor.numel());
    } else {
      tensor.mul_(factor);
    }
  }
}

}  // namespace accordion::op
