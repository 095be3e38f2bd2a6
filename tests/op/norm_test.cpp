#include "op/norm.h"

#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

TEST(Norm, ByFiniteDifferences) {
  for (const int64_t width : {1, 3, 8}) {
    const Tensor x = random_tensor({2, 3, width}, 1), weight = random_tensor({width}, 2),
                 bias = random_tensor({width}, 3);
    test::ExpectGradients([](const auto& in) { return op::layer_norm(in[0], in[1], in[2], 1e-3); }, {x, weight, bias});
    test::ExpectGradients([](const auto& in) { return op::layer_norm(in[0], in[1], {}, 1e-3); }, {x, weight});
    test::ExpectGradients([](const auto& in) { return op::rms_norm(in[0], in[1], 1e-3); }, {x, weight});
    test::ExpectGradients([](const auto& in) { return op::rms_norm(in[0], in[1], 1e-3, true); }, {x, weight});
  }
}

enum class Kind { layer, rms, rms_plus_one };

/// Outputs and gradients of x, weight and bias in `type`.
std::vector<Tensor> run(Kind kind, bool fused, int64_t rows, int64_t width, torch::ScalarType type,
                        torch::ScalarType values) {
  const auto make = [&](at::IntArrayRef sizes, uint64_t seed) {
    return random_tensor(sizes, seed).to(values).to(type).requires_grad_(true);
  };
  const Tensor x = make({rows, width}, 1), weight = make({width}, 2), bias = make({width}, 3);
  Tensor y;
  switch (kind) {
    case Kind::layer:
      y = fused ? op::layer_norm(x, weight, bias, 1e-5) : at::layer_norm(x, {width}, weight, bias, 1e-5);
      break;
    case Kind::rms:
      y = fused ? op::rms_norm(x, weight, 1e-5) : at::rms_norm(x, {width}, weight, 1e-5);
      break;
    case Kind::rms_plus_one:  // in f32, rounded once
      y = fused ? op::rms_norm(x, weight, 1e-5, true)
                : (at::rms_norm(x.to(torch::kFloat), {width}, {}, 1e-5) * (weight.to(torch::kFloat) + 1)).to(type);
      break;
  }
  y.backward(random_tensor({rows, width}, 4).to(values).to(type));
  std::vector<Tensor> results{y, x.grad(), weight.grad()};
  if (kind == Kind::layer) results.push_back(bias.grad());
  return results;
}

TEST(Norm, AsExactAsThePlainVersion) {
  for (const Kind kind : {Kind::layer, Kind::rms, Kind::rms_plus_one}) {
    for (const auto type : {torch::kFloat, torch::kBFloat16}) {
      for (const auto& [rows, width] :
           std::vector<std::pair<int64_t, int64_t>>{{1, 5}, {7, 64}, {65, 517}, {300, 33}}) {
        const auto truth = run(kind, true, rows, width, torch::kDouble, type);
        const auto plain = run(kind, false, rows, width, type, type);
        const auto got = run(kind, true, rows, width, type, type);
        for (size_t i = 0; i < got.size(); ++i) {
          test::ExpectAsExact(got[i], plain[i], truth[i],
                              "kind " + std::to_string(int(kind)) + " result " + std::to_string(i) + " rows " +
                                  std::to_string(rows) + " width " + std::to_string(width) +
                                  (type == torch::kFloat ? " f32" : " bf16"));
        }
      }
    }
  }
}

}  // namespace accordion::op
