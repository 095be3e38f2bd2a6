#include "op/cpu/small_product.h"

#include <tuple>
#include <vector>

#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

/// (k,n) with its rows zipped in pairs: (k/2,n,2).
Tensor zipped(const Tensor& b) { return b.view({b.size(0) / 2, 2, b.size(1)}).transpose(1, 2).contiguous(); }

TEST(SmallProduct, OfAnyShape) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const bool half = type == torch::kBFloat16;
    for (const auto& [m, n, k] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
             {64, 512, 128}, {64, 64, 64}, {1, 1, 2}, {13, 37, 6}, {7, 40, 20}, {64, 2, 64}, {5, 129, 2}}) {
      for (const bool add : {false, true}) {
        const Tensor a = random_tensor({m, k + 2}, 1, type), b = random_tensor({k, n}, 2, type);
        Tensor c = random_tensor({m, n + 3}, 3, torch::kFloat);
        const Tensor left = a.slice(1, 0, k), before = c.clone(), right = half ? zipped(b) : b;
        const Tensor product = left.to(torch::kDouble).mm(b.to(torch::kDouble));
        const Tensor expected = add ? before.slice(1, 0, n).to(torch::kDouble) + product : product;
        cpu::small_product_here(half ? cpu::Type::bf16 : cpu::Type::f32, {m, n, k, k + 2, n, n + 3, add},
                                a.const_data_ptr(), right.const_data_ptr(), c.mutable_data_ptr<float>());
        EXPECT_LE(test::relative_error(c.slice(1, 0, n), expected.to(torch::kFloat)), 1e-5)
            << m << ' ' << n << ' ' << k;
        EXPECT_TRUE(torch::equal(c.slice(1, n), before.slice(1, n))) << "beyond the columns";
      }
    }
  }
}

}  // namespace accordion::op
