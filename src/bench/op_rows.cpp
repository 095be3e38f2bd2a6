#include <torch/optim/adamw.h>

#include "bench/op_parts.h"
#include "op/activation.h"
#include "op/adamw.h"
#include "op/linear.h"
#include "op/norm.h"
#include "op/rotary.h"

// Operators that treat every token alone. `passes` counts how often the fused version must read or write a tensor.
namespace accordion::bench {
namespace {

constexpr int64_t kTokens = 4096;

using Way = std::function<std::function<void()>(int64_t N)>;

/// Adds the operator at each length, fused and plain, over rows of `row` values.
void add(std::vector<OpCase>& cases, const OpSizes& sizes, const std::string& name, int64_t row, double passes,
         const Way& fused, const Way& plain, double operations = 0) {
  for (const int64_t N : lengths_or(sizes, {kTokens})) {
    for (const bool ours : {true, false}) {
      OpCase one{.name = name, .way = ours ? "fused" : "plain", .length = N};
      const double values = as_double(N) * as_double(row);
      one.needs = 16 * values * 4;
      one.bytes = passes * values * element_bytes(sizes);
      one.operations = operations * as_double(N);
      one.set_up = [=] { return ours ? fused(N) : plain(N); };
      cases.push_back(std::move(one));
    }
  }
}

}  // namespace

std::vector<OpCase> activation_cases(const OpSizes& sizes) {
  std::vector<OpCase> cases;
  const auto type = sizes.type;
  const int64_t F = sizes.inner;
  const auto of_one = [=](const std::function<Tensor(const Tensor&)>& function) -> Way {
    return [=](int64_t N) {
      const Tensor x = random({N, F}, type);
      return both({x}, [=] { return function(x); });
    };
  };
  const auto of_two = [=](const std::function<Tensor(const Tensor&, const Tensor&)>& function) -> Way {
    return [=](int64_t N) {
      const Tensor gate = random({N, F}, type), up = random({N, F}, type);
      return both({gate, up}, [=] { return function(gate, up); });
    };
  };
  add(cases, sizes, "gelu", F, 5, of_one([](const Tensor& x) { return op::gelu(x, false); }),
      of_one([](const Tensor& x) { return at::gelu(x); }));
  add(cases, sizes, "swiglu", F, 8, of_two([](const Tensor& gate, const Tensor& up) { return op::swiglu(gate, up); }),
      of_two([](const Tensor& gate, const Tensor& up) { return at::silu(gate) * up; }));
  return cases;
}

std::vector<OpCase> norm_cases(const OpSizes& sizes) {
  std::vector<OpCase> cases;
  const auto type = sizes.type;
  const int64_t D = sizes.width;
  const auto layer_norm = [=](bool fused) -> Way {
    return [=](int64_t N) {
      const Tensor x = random({N, D}, type), w = random({D}, type), b = random({D}, type);
      return both({x, w, b},
                  [=] { return fused ? op::layer_norm(x, w, b, 1e-5) : at::layer_norm(x, {D}, w, b, 1e-5); });
    };
  };
  const auto rms_norm = [=](bool fused) -> Way {
    return [=](int64_t N) {
      const Tensor x = random({N, D}, type), w = random({D}, type);
      return both({x, w}, [=] { return fused ? op::rms_norm(x, w, 1e-5) : at::rms_norm(x, {D}, w, 1e-5); });
    };
  };
  add(cases, sizes, "layer_norm", D, 5, layer_norm(true), layer_norm(false));
  add(cases, sizes, "rms_norm", D, 5, rms_norm(true), rms_norm(false));
  return cases;
}

std::vector<OpCase> rotary_cases(const OpSizes& sizes) {
  constexpr int64_t E = 64, R = 16;  // of a head, and what of it is rotated
  std::vector<OpCase> cases;
  const auto type = sizes.type;
  const int64_t H = std::max<int64_t>(1, sizes.width / E);
  const Way fused = [=](int64_t N) {
    const Tensor x = random({1, N, H, E}, type), angles = torch::randn({N, R / 2}, device());
    const Tensor cos = angles.cos(), sin = angles.sin();
    return both({x}, [=] { return op::rotate_(x, cos, sin); });
  };
  const Way plain = [=](int64_t N) {
    const Tensor x = random({1, N, H, E}, type), angles = torch::randn({N, 1, R / 2}, device());
    const Tensor cos = angles.cos().to(type), sin = angles.sin().to(type);
    return both({x}, [=] {
      const Tensor a = x.slice(3, 0, R / 2), b = x.slice(3, R / 2, R);
      return torch::cat({a * cos - b * sin, b * cos + a * sin, x.slice(3, R)}, 3);
    });
  };
  add(cases, sizes, "rotate", H * E, 4, fused, plain);
  return cases;
}

std::vector<OpCase> linear_cases(const OpSizes& sizes) {
  std::vector<OpCase> cases;
  const auto type = sizes.type;
  const int64_t D = sizes.width, F = sizes.inner, V = sizes.vocabulary;
  const auto linear = [=](bool fused) -> Way {
    return [=](int64_t N) {
      const Tensor x = random({N, D}, type), w = parameter({F, D}, type), b = parameter({F}, type);
      return both({x}, [=] { return fused ? op::linear(x, w, b) : at::linear(x, w, b); });
    };
  };
  const auto embedding = [=](bool fused) -> Way {
    return [=](int64_t N) {
      const Tensor ids = torch::randint(V, {N}, torch::dtype(torch::kLong).device(device()));
      const Tensor w = parameter({V, D}, type);
      return both({}, [=] { return fused ? op::embedding(ids, w) : at::embedding(w, ids); });
    };
  };
  add(cases, sizes, "linear", F, 0, linear(true), linear(false), 6 * as_double(D * F));
  add(cases, sizes, "embedding", D, 0, embedding(true), embedding(false));
  return cases;
}

/// What an optimizer's update does to one large weight.
std::vector<OpCase> update_cases(const OpSizes& sizes) {
  const int64_t n = 4 * sizes.width * sizes.inner;
  const auto type = sizes.type;
  std::vector<OpCase> cases;
  const auto add_one = [&](const char* name, const char* way, double bytes,
                           std::function<std::function<void()>()> made) {
    cases.push_back(
        {.name = name, .way = way, .length = n, .needs = 24 * as_double(n), .bytes = bytes, .set_up = std::move(made)});
  };
  add_one("adamw", "fused", as_double(n) * (type == torch::kFloat ? 28 : 30), [=]() -> std::function<void()> {
    Tensor master = random({n}, torch::kFloat, false), weight = type == torch::kFloat ? master : master.to(type);
    Tensor first = torch::zeros_like(master), second = torch::zeros_like(master), gradient = torch::randn_like(master);
    return [=]() mutable {
      op::adamw_step(master, weight, gradient, first, second, {1e-3, 0.9, 0.95, 1e-8, 0.1, 1, 1});
    };
  });
  add_one("adamw", "plain", as_double(n) * 28, [=]() -> std::function<void()> {
    const Tensor weight = random({n}, type);
    weight.mutable_grad() = torch::randn_like(weight);
    const auto optimizer = std::make_shared<torch::optim::AdamW>(std::vector<Tensor>{weight});
    return [=] { optimizer->step(); };
  });
  add_one("global_norm", "fused", as_double(n) * element_bytes(sizes), [=]() -> std::function<void()> {
    const Tensor one = random({n}, type, false);
    return [=] { op::global_norm({one}); };
  });
  add_one("global_norm", "plain", as_double(n) * element_bytes(sizes), [=]() -> std::function<void()> {
    const Tensor one = random({n}, type, false);
    return [=] { one.norm(2, torch::kFloat).item<double>(); };
  });
  return cases;
}

}  // namespace accordion::bench
