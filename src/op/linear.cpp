#include "op/linear.h"

#include <algorithm>
#include <optional>

#include "op/cpu/tensors.h"
#include "op/gradient.h"
#include "op/in_one_order.h"
#include "op/product.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr int64_t kAtOnce = int64_t{1} << 24;  // values

Tensor rows_of(const Tensor& x) { return x.reshape({-1, x.size(-1)}); }

struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::optional<Tensor>& bias, bool read) {
    context->save_for_backward({x, weight, bias.value_or(Tensor())});
    auto sizes = x.sizes().vec();
    sizes.back() = weight.size(0);
    if (!read) return torch::zeros({1}, x.options()).expand(sizes);
    return affine(rows_of(x), weight, bias.value_or(Tensor())).view(sizes);  // (...,O)
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const Tensor dy = rows_of(gradients[0]);  // (N,O)
    Tensor dx, dweight, dbias;
    if (context->needs_input_grad(0)) dx = product(dy, weight).view(x.sizes());           // (...,I)
    if (context->needs_input_grad(1)) dweight = give_product(weight, dy, rows_of(x));     // (O,I)
    if (bias.defined() && context->needs_input_grad(2)) dbias = give_row_sums(bias, dy);  // (O)
    return {dx, dweight, dbias, Tensor()};
  }
};

struct Embedding : torch::autograd::Function<Embedding> {
  static Tensor forward(AutogradContext* context, const Tensor& ids, const Tensor& weight, int64_t padding) {
    context->save_for_backward({ids, weight});
    context->saved_data["padding"] = padding;
    return at::embedding(weight, ids);  // (...,D)
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor ids = saved[0].reshape(-1);  // (N)
    const Tensor& weight = saved[1];          // (V,D)
    const Tensor dy = rows_of(gradients[0]);  // (N,D)
    const int64_t padding = context->saved_data["padding"].toInt();
    if (has_main_gradient(weight)) {
      torch::NoGradGuard no_grad;
      Tensor main = weight.grad();
      if (const auto type = cpu::kernel_type(dy); type && main.scalar_type() == torch::kFloat) {
        const Tensor rows = dy.contiguous(), places = ids.contiguous();
        RECORD_USER_SCOPE("accordion::embedding_gradient");
        cpu::add_rows(*type, rows.const_data_ptr(), places.const_data_ptr<int64_t>(), rows.size(0), rows.size(1),
                      padding, main.mutable_data_ptr<float>());
      } else {
        const InOneOrder in_one_order;
        const int64_t rows = std::max<int64_t>(1, kAtOnce / dy.size(1));  // so many are widened at a time
        for (int64_t begin = 0; begin < dy.size(0); begin += rows) {
          const auto part = [&](const Tensor& all) { return all.slice(0, begin, begin + rows); };
          Tensor values = part(dy).to(main.scalar_type());  // (C,D)
          if (padding >= 0) values = values.masked_fill((part(ids) == padding).unsqueeze(1), 0);
          main.index_add_(0, part(ids), values);
        }
      }
      return {Tensor(), Tensor(), Tensor()};
    }
    Tensor dweight = torch::zeros_like(weight).index_add_(0, ids, dy);
    if (padding >= 0) dweight[padding].zero_();
    return {Tensor(), dweight, Tensor()};
  }
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool read) {
  return Linear::apply(x, weight, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, read);
}

Tensor embedding(const Tensor& ids, const Tensor& weight, int64_t padding) {
  return Embedding::apply(ids, weight, padding);
}

}  // namespace accordion::op
