#include "op/rotary.h"

#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

Tensor angles(at::IntArrayRef sizes) { return random_tensor(sizes, 9) * 2; }

TEST(Rotary, ByFiniteDifferences) {
  const Tensor shared = angles({3, 2}), each = angles({2, 3, 2});
  for (const Tensor& a : {shared, each}) {
    test::ExpectGradients([&](const auto& in) { return rotate_(in[0].clone(), a.cos(), a.sin()); },
                          {random_tensor({2, 3, 2, 5}, 1)});
  }
}

/// Hugging Face's rotate_half in f64.
Tensor reference(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t R = 2 * cos.size(-1);
  const Tensor turned = x.slice(-1, 0, R), rest = x.slice(-1, R);
  const Tensor half = torch::cat({-turned.slice(-1, R / 2), turned.slice(-1, 0, R / 2)}, -1);
  const Tensor c = torch::cat({cos, cos}, -1).unsqueeze(-2), s = torch::cat({sin, sin}, -1).unsqueeze(-2);
  return torch::cat({turned * c + half * s, rest}, -1);
}

TEST(Rotary, EqualsRotateHalf) {
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kDouble}) {
    for (const auto& [width, rotated] :
         std::vector<std::pair<int64_t, int64_t>>{{64, 16}, {64, 64}, {37, 34}, {2, 2}}) {
      const Tensor a = angles({2, 9, rotated / 2});
      const Tensor cos = a.cos().to(torch::kFloat), sin = a.sin().to(torch::kFloat);
      const Tensor joint = random_tensor({2, 9, 3, 3 * width}, 1, type);  // a slice of a joint projection
      for (const bool in_place : {false, true}) {
        const Tensor x = joint.slice(-1, width, 2 * width).detach().requires_grad_(true);
        const Tensor in = in_place ? x.clone(torch::MemoryFormat::Contiguous) : x;
        const Tensor y = rotate_(in, cos, sin);
        EXPECT_EQ(y.const_data_ptr() == in.const_data_ptr(), in_place);
        const Tensor expected = reference(joint.slice(-1, width, 2 * width).to(torch::kDouble), cos.to(torch::kDouble),
                                          sin.to(torch::kDouble));
        EXPECT_LE(test::relative_error(y, expected.to(type)), type == torch::kBFloat16 ? 4e-3 : 1e-6) << width;
        const Tensor dy = random_tensor(y.sizes(), 3, type), kept = dy.clone();
        y.backward(dy);
        const Tensor back = reference(kept.to(torch::kDouble), cos.to(torch::kDouble), -sin.to(torch::kDouble));
        EXPECT_LE(test::relative_error(x.grad(), back.to(type)), type == torch::kBFloat16 ? 4e-3 : 1e-6) << width;
        EXPECT_TRUE(torch::equal(dy, kept)) << "the caller's gradient";
      }
    }
  }
}

TEST(Rotary, LeavesAGradientThatAnotherBranchWaitsFor) {
  const Tensor a = angles({9, 4}), x = random_tensor({2, 9, 3, 8}, 1, torch::kFloat).requires_grad_(true),
               other = random_tensor(x.sizes(), 2, torch::kFloat).requires_grad_(true);
  const Tensor before = other * 2;  // made first, so that its gradient waits while the rotation goes back
  const Tensor sum = before + rotate_(x * 1, a.cos().to(torch::kFloat), a.sin().to(torch::kFloat));
  const Tensor dy = random_tensor(x.sizes(), 3, torch::kFloat);
  (sum * dy).sum().backward();
  EXPECT_TRUE(torch::equal(other.grad(), 2 * dy));
}

}  // namespace accordion::op
