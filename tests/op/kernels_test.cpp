#include "op/cpu/kernels.h"

#include <atomic>
#include <limits>
#include <tuple>
#include <vector>

#include "op/cpu/parallel.h"
#include "op/gradients.h"
#include "op/norm.h"
#include "op/product.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

/// x as the kernels narrow it.
Tensor narrowed(const Tensor& x) {
  Tensor master = x.clone(), half = torch::empty(x.sizes(), torch::kBFloat16), first = torch::zeros_like(x),
         second = torch::zeros_like(x);
  const cpu::AdamWFactors keep{1, 0, 0, 0, 1, 1, 0};  // an update that changes nothing
  cpu::adamw(keep, master.mutable_data_ptr<float>(), static_cast<cpu::bf16*>(half.mutable_data_ptr()),
             x.const_data_ptr<float>(), first.mutable_data_ptr<float>(), second.mutable_data_ptr<float>(), x.numel());
  return half;
}

TEST(Kernels, NarrowToNearestEvenWithoutBias) {
  const Tensor x = random_tensor({100003}, 1, torch::kFloat).abs();
  const Tensor half = narrowed(x);
  EXPECT_TRUE(torch::equal(half, x.to(torch::kBFloat16)));
  const double bias = (half.to(torch::kDouble) - x.to(torch::kDouble)).mean().item<double>();
  EXPECT_LT(std::abs(bias), 2e-5);  // truncation would leave about -1.4e-3
  const Tensor edges = torch::tensor({1.00390625, 1.01171875, 1.0039063, 3.3895e38, -0.0, 1e-40}, torch::kFloat);
  EXPECT_TRUE(torch::equal(narrowed(edges), edges.to(torch::kBFloat16)));
}

TEST(Kernels, NotANumberAndInfinityStay) {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor x = torch::zeros({4}, torch::kBFloat16);
  const Tensor source = torch::tensor({inf, std::nanf(""), 2.0F, -inf}).to(torch::kBFloat16);
  cpu::scale(cpu::Type::bf16, source.const_data_ptr(), 1, x.mutable_data_ptr(), 4);
  EXPECT_EQ(x[0].item<float>(), inf);
  EXPECT_TRUE(x[1].isnan().item<bool>());
  EXPECT_EQ(x[2].item<float>(), 2);
  EXPECT_EQ(x[3].item<float>(), -inf);
}

TEST(Kernels, TheSameBitsForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  const auto run = [](int count) {
    at::set_num_threads(count);
    const Tensor x = random_tensor({777, 65}, 1, torch::kFloat).requires_grad_(true);
    const Tensor weight = random_tensor({65}, 2, torch::kFloat).requires_grad_(true);
    op::layer_norm(x, weight, {}, 1e-5).backward(random_tensor({777, 65}, 3, torch::kFloat));
    Tensor sums = torch::zeros({65});
    cpu::add_column_sums(cpu::Type::f32, x.const_data_ptr(), 777, 65, sums.mutable_data_ptr<float>());
    return std::vector<Tensor>{x.grad(), weight.grad(), sums};
  };
  const auto one = run(1), three = run(3);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(torch::equal(one[i], three[i])) << i;
}

TEST(Kernels, WorkIsDealtOnceWhateverTheThreads) {
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 5}) {
    at::set_num_threads(count);
    for (const int64_t n : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      cpu::parallel_for(n, 3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[size_t(i)];
      });
      std::vector<std::atomic<int>> busy(static_cast<size_t>(cpu::parallel_workers(n)));
      cpu::parallel_tasks(n, [&](int64_t i, int64_t worker) {
        EXPECT_EQ(busy.at(size_t(worker))++, 0);
        cpu::parallel_for(1, 1, [&](int64_t, int64_t) { ++seen[size_t(i)]; });  // nested: serial
        --busy[size_t(worker)];
      });
      for (const auto& times : seen) EXPECT_EQ(times.load(), 2);
    }
  }
  at::set_num_threads(threads);
}

TEST(Kernels, ProductsWidenedByBlocks) {
  for (const auto& [m, k, n] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{7, 5, 9}, {3, 2050, 2}, {1030, 4, 1030}}) {
    const Tensor a = random_tensor({m, k}, 1, torch::kBFloat16), b = random_tensor({n, k}, 2, torch::kBFloat16).t(),
                 bias = random_tensor({n}, 3, torch::kBFloat16);
    const Tensor expected = a.to(torch::kDouble).mm(b.to(torch::kDouble));
    Tensor sum = torch::ones({m, n});
    op::add_widened_product(sum, a, b);
    EXPECT_LE(test::relative_error(sum, expected + 1), 1e-5);
    EXPECT_LE(test::relative_error(op::widened_affine(a, b, bias), expected + bias.to(torch::kDouble)), 4e-3);
  }
}

TEST(Kernels, ProductsOfEveryLayout) {
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kDouble}) {
    const Tensor a = random_tensor({7, 5}, 1, type), b = random_tensor({5, 9}, 2, type),
                 bias = random_tensor({9}, 3, type);
    const Tensor expected = a.to(torch::kDouble).mm(b.to(torch::kDouble));
    const double tolerance = type == torch::kBFloat16 ? 1e-2 : 1e-6;
    EXPECT_LE(test::relative_error(op::product(a, b), expected), tolerance);
    const Tensor a_turned = a.t().contiguous().t(), b_turned = b.t().contiguous().t();
    EXPECT_LE(test::relative_error(op::product(a_turned, b_turned), expected), tolerance);
    Tensor sum = torch::ones({7, 9}, type == torch::kDouble ? torch::kDouble : torch::kFloat);
    op::add_product(sum, a_turned, b);
    EXPECT_LE(test::relative_error(sum, expected + 1), tolerance);
    EXPECT_LE(test::relative_error(op::affine(a, b_turned.t(), bias), expected + bias.to(torch::kDouble)), tolerance);
    EXPECT_EQ(op::product(a.slice(0, 0, 0), b).size(1), 9);
  }
}

}  // namespace accordion::op
