#include "op/product.h"

#include <algorithm>

#include "base/machine.h"
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

/// Processors that cannot multiply bf16 take libtorch to a loop of 1 to 20 GFLOP/s.
bool widens(const Tensor& a) {
  return a.device().is_cpu() && a.scalar_type() == torch::kBFloat16 && !native_bf16() && a.numel() > 0;
}

struct Range {
  int64_t begin, end;
  Tensor of(const Tensor& x, int64_t dimension) const { return x.slice(dimension, begin, end); }
};

/// a b in f32, block by block of a and b widened, so that no f32 copy of a whole matrix is made. `place(rows, columns)`
/// is an f32 tensor for a block of the result, whose values count as its sum so far; `done(block, rows, columns)` takes
/// it back.
void widened_product(const Tensor& a, const Tensor& b, const auto& place, const auto& done) {
  const auto ranges = [](int64_t size, const auto& work) {
    for (int64_t begin = 0; begin < size; begin += kWidened) work(Range{begin, std::min(begin + kWidened, size)});
  };
  ranges(b.size(1), [&](const Range& columns) {
    ranges(a.size(0), [&](const Range& rows) {
      Tensor block = place(rows, columns);
      ranges(a.size(1), [&](const Range& inner) {
        block.addmm_(inner.of(rows.of(a, 0), 1).to(torch::kFloat), columns.of(inner.of(b, 0), 1).to(torch::kFloat));
      });
      done(block, rows, columns);
    });
  });
}

}  // namespace

Tensor widened_affine(const Tensor& a, const Tensor& b, const Tensor& bias) {
  Tensor result = torch::empty({a.size(0), b.size(1)}, a.options());
  widened_product(
      a, b,
      [&](const Range& rows, const Range& columns) {
        const std::vector<int64_t> sizes{rows.end - rows.begin, columns.end - columns.begin};
        const auto wide = a.options().dtype(torch::kFloat);
        if (!bias.defined()) return torch::zeros(sizes, wide);
        return torch::empty(sizes, wide).copy_(columns.of(bias, 0));
      },
      [&](const Tensor& block, const Range& rows, const Range& columns) {
        columns.of(rows.of(result, 0), 1).copy_(block);
      });
  return result;
}

void add_widened_product(Tensor& sum, const Tensor& a, const Tensor& b) {
  widened_product(
      a, b, [&](const Range& rows, const Range& columns) { return columns.of(rows.of(sum, 0), 1); },
      [](const auto&...) {});
}

Tensor product(const Tensor& a, const Tensor& b) {
  if (widens(a)) return widened_affine(a, b, {});
  if (!through_onednn(a, b)) return a.mm(b);
  Tensor result = torch::empty({a.size(0), b.size(1)}, a.options());
  RECORD_USER_SCOPE("accordion::product");
  at::native::mkldnn_matmul(a, b, result, 0, 1);
  return result;
}

void add_product(Tensor& sum, const Tensor& a, const Tensor& b) {
  if (widens(a) && sum.scalar_type() == torch::kFloat) {
    add_widened_product(sum, a, b);
  } else if (sum.scalar_type() != a.scalar_type()) {
    RECORD_USER_SCOPE("accordion::add_product");
    cpu::add_to(sum, product(a, b));
  } else if (through_onednn(a, b)) {
    RECORD_USER_SCOPE("accordion::product");
    at::native::mkldnn_matmul(a, b, sum, 1, 1);
  } else {
    sum.addmm_(a, b);
  }
}

Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!bias.defined()) return product(x, weight.t());
  if (widens(x)) return widened_affine(x, weight.t(), bias);
  if (!through_onednn(x, weight)) return at::linear(x, weight, bias);
  static const auto linear = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!linear) return product(x, weight.t()).add_(bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  return linear->typed<LinearPointwise>().call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(),
                                               std::nullopt);
}

}  // namespace accordion::op
