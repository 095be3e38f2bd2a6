#include "op/gradient.h"

#include "op/adamw.h"
#include "op/gradients.h"
#include "op/linear.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

TEST(Gradient, MainGradientIsF32AndAddsUp) {
  Tensor weight = random_tensor({5, 3}, 1, torch::kBFloat16);
  make_parameter(weight);
  ASSERT_EQ(weight.grad().scalar_type(), torch::kFloat);
  const Tensor x = random_tensor({7, 3}, 2, torch::kBFloat16);
  for (int pass = 0; pass < 2; ++pass) op::linear(x, weight).sum().backward();
  const Tensor once = torch::ones({7, 5}, torch::kBFloat16).t().mm(x).to(torch::kFloat);
  EXPECT_TRUE(torch::allclose(weight.grad(), 2 * once, 1e-2, 1e-2));
}

TEST(Gradient, AutogradAddsBf16GradientsInF32) {
  Tensor weight = random_tensor({4}, 1, torch::kBFloat16);
  make_parameter(weight);
  (weight * 3).sum().backward();
  (weight * 0.001953125).sum().backward();  // lost when added to 3 in bf16
  EXPECT_TRUE(torch::allclose(weight.grad(), torch::full({4}, 3.001953125)));
}

TEST(Gradient, LinearByFiniteDifferences) {
  for (const int64_t rows : {1, 5}) {
    test::ExpectGradients([](const auto& in) { return op::linear(in[0], in[1], in[2]); },
                          {random_tensor({2, rows, 3}, 1), random_tensor({4, 3}, 2), random_tensor({4}, 3)});
  }
  test::ExpectGradients([](const auto& in) { return op::linear(in[0], in[1]); },
                        {random_tensor({6, 3}, 1), random_tensor({4, 3}, 2)});
}

TEST(Gradient, EmbeddingByFiniteDifferences) {
  const Tensor ids = torch::tensor({{1, 0, 1}, {3, 3, 2}}, torch::kLong);
  test::ExpectGradients([](const auto& in) { return op::embedding(in[0], in[1]); }, {ids, random_tensor({5, 3}, 2)});
}

TEST(Gradient, EmbeddingAddsRowsIntoTheMainGradient) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    Tensor weight = random_tensor({50, 19}, 1, type);
    make_parameter(weight);
    auto generator = at::detail::createCPUGenerator(3);
    const Tensor ids = at::randint(0, 50, {4, 33}, generator, torch::kLong);
    const Tensor dy = random_tensor({4, 33, 19}, 4, type);
    op::embedding(ids, weight).backward(dy);
    const Tensor expected =
        torch::zeros({50, 19}, torch::kDouble).index_add_(0, ids.view(-1), dy.view({-1, 19}).to(torch::kDouble));
    EXPECT_LE(test::relative_error(weight.grad(), expected), 1e-6);
  }
}

TEST(Gradient, ThePaddingRowOfAnEmbeddingGetsNothing) {
  const Tensor ids = torch::tensor({{1, 0, 1}, {3, 3, 2}}, torch::kLong), dy = random_tensor({2, 3, 3}, 4);
  const Tensor all = torch::zeros({5, 3}, torch::kDouble).index_add_(0, ids.view(-1), dy.view({-1, 3}));
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    for (const bool main : {true, false}) {
      for (const int64_t padding : {-1, 3, 4}) {
        Tensor weight = random_tensor({5, 3}, 1, type).requires_grad_(!main);
        if (main) make_parameter(weight);
        const Tensor y = op::embedding(ids, weight, padding);
        EXPECT_TRUE(torch::equal(y, weight.index_select(0, ids.view(-1)).view({2, 3, 3})));  // its values are read
        y.backward(dy.to(type));
        Tensor expected = all.clone();
        if (padding >= 0) expected[padding].zero_();
        EXPECT_TRUE(torch::allclose(weight.grad().to(torch::kDouble), expected, 2e-2, 1e-2)) << padding;
        EXPECT_EQ(weight.grad()[3].count_nonzero().item<int64_t>(), padding == 3 ? 0 : 3);
      }
    }
  }
}

TEST(Gradient, NormAndScaleOverAList) {
  std::vector<Tensor> list{random_tensor({1000, 37}, 1, torch::kFloat), random_tensor({3}, 2, torch::kFloat)};
  const Tensor all = torch::cat({list[0].view(-1), list[1]}).to(torch::kDouble);
  EXPECT_NEAR(global_norm(list), all.norm().item<double>(), 1e-6);
  const double before = global_norm(list);
  at::set_num_threads(1);
  EXPECT_EQ(before, global_norm(list));
  at::set_num_threads(2);
  scale(list, 0.5);
  EXPECT_NEAR(global_norm(list), before / 2, 1e-6);
}

}  // namespace accordion::op
