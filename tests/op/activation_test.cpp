#include "op/activation.h"

#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

TEST(Activation, ByFiniteDifferences) {
  const Tensor x = random_tensor({3, 7}, 1) * 2, up = random_tensor({3, 7}, 2);
  test::ExpectGradients([](const auto& in) { return op::gelu(in[0], true); }, {x});
  test::ExpectGradients([](const auto& in) { return op::gelu(in[0], false); }, {x});
  test::ExpectGradients([](const auto& in) { return swiglu(in[0], in[1]); }, {x, up});
  test::ExpectGradients([](const auto& in) { return geglu(in[0], in[1]); }, {x, up});
}

enum class Kind { exact_gelu, tanh_gelu, swiglu, geglu };

std::vector<Tensor> run(Kind kind, bool fused, int64_t size, torch::ScalarType type, torch::ScalarType values) {
  const auto make = [&](uint64_t seed) {
    return (random_tensor({size}, seed) * 3).to(values).to(type).requires_grad_(true);
  };
  const Tensor x = make(1), up = make(2);
  Tensor y;
  switch (kind) {
    case Kind::exact_gelu:
      y = fused ? op::gelu(x, false) : at::gelu(x, "none");
      break;
    case Kind::tanh_gelu:
      y = fused ? op::gelu(x, true) : at::gelu(x, "tanh");
      break;
    case Kind::swiglu:
      y = fused ? swiglu(x, up) : at::silu(x) * up;
      break;
    case Kind::geglu:
      y = fused ? geglu(x, up) : at::gelu(x, "tanh") * up;
      break;
  }
  y.backward(random_tensor({size}, 4).to(values).to(type));
  return up.grad().defined() ? std::vector<Tensor>{y, x.grad(), up.grad()} : std::vector<Tensor>{y, x.grad()};
}

TEST(Activation, AsExactAsThePlainVersion) {
  for (const Kind kind : {Kind::exact_gelu, Kind::tanh_gelu, Kind::swiglu, Kind::geglu}) {
    for (const auto type : {torch::kFloat, torch::kBFloat16}) {
      for (const int64_t size : {1, 15, 17, 1000, 100003}) {
        const auto truth = run(kind, true, size, torch::kDouble, type);
        const auto plain = run(kind, false, size, type, type);
        const auto got = run(kind, true, size, type, type);
        for (size_t i = 0; i < got.size(); ++i) {
          test::ExpectAsExact(
              got[i], plain[i], truth[i],
              "kind " + std::to_string(int(kind)) + " result " + std::to_string(i) + " size " + std::to_string(size));
        }
      }
    }
  }
}

TEST(Activation, LargeAndSpecialValues) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Tensor x =
        torch::tensor({-1e4, -100.0, -10.0, 0.0, 10.0, 100.0, 1e4}, torch::kDouble).to(type).requires_grad_(true);
    for (const bool tanh : {false, true}) {
      if (x.grad().defined()) x.mutable_grad() = Tensor();
      const Tensor y = op::gelu(x, tanh);
      EXPECT_TRUE(torch::allclose(y, at::gelu(x, tanh ? "tanh" : "none"), 1e-2, 1e-6));
      y.sum().backward();
      EXPECT_TRUE(torch::isfinite(x.grad()).all().item<bool>()) << x.grad();
    }
  }
}

TEST(Activation, GatedOnesKeepLargeGatesApart) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Tensor gate =
        torch::tensor({-1e4, -100.0, -10.0, 0.0, 10.0, 100.0, 1e4}, torch::kDouble).to(type).requires_grad_(true);
    const Tensor up = torch::full({7}, 0.5, type).requires_grad_(true);
    const Tensor y = geglu(gate, up);
    EXPECT_TRUE(torch::allclose(y, at::gelu(gate, "tanh") * up, 1e-2, 1e-6));
    y.sum().backward();
    EXPECT_TRUE(torch::isfinite(gate.grad()).all().item<bool>()) << gate.grad();
    EXPECT_TRUE(torch::allclose(up.grad(), at::gelu(gate, "tanh"), 1e-2, 1e-6));
  }
}

}  // namespace accordion::op
