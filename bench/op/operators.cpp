#include "bench.h"
#include "op/activation.h"
#include "op/adamw.h"
#include "op/gradient.h"
#include "op/head_loss.h"
#include "op/linear.h"
#include "op/norm.h"
#include "op/rotary.h"

// Sizes of pythia-70m at 4,096 tokens. Passes over memory are counted as the fused version needs them.
namespace accordion::bench {
namespace {

constexpr int64_t N = 4096, D = 512, F = 2048, V = 50304;

double width(torch::ScalarType type) { return double(torch::elementSize(type)); }

void add_activations() {
  for (const bool fused : {true, false}) {
    const std::string way = fused ? "fused" : "plain";
    add("gelu/" + way, [=](auto type) {
      const Tensor x = random({N, F}, type, true);
      return Case{5.0 * N * F * width(type), 0, both([=] { return fused ? op::gelu(x, false) : at::gelu(x); })};
    });
    add("swiglu/" + way, [=](auto type) {
      const Tensor gate = random({N, F}, type, true), up = random({N, F}, type, true);
      return Case{8.0 * N * F * width(type), 0,
                  both([=] { return fused ? op::swiglu(gate, up) : at::silu(gate) * up; })};
    });
  }
}

void add_norms() {
  for (const bool fused : {true, false}) {
    const std::string way = fused ? "fused" : "plain";
    add("layer_norm/" + way, [=](auto type) {
      const Tensor x = random({N, D}, type, true), w = random({D}, type, true), b = random({D}, type, true);
      return Case{5.0 * N * D * width(type), 0,
                  both([=] { return fused ? op::layer_norm(x, w, b, 1e-5) : at::layer_norm(x, {D}, w, b, 1e-5); })};
    });
    add("rms_norm/" + way, [=](auto type) {
      const Tensor x = random({N, D}, type, true), w = random({D}, type, true);
      return Case{5.0 * N * D * width(type), 0,
                  both([=] { return fused ? op::rms_norm(x, w, 1e-5) : at::rms_norm(x, {D}, w, 1e-5); })};
    });
  }
}

void add_rotary() {
  add("rotate/fused", [](auto type) {
    const Tensor x = random({4, N / 4, 8, 64}, type, true), angles = torch::randn({N / 4, 8});
    return Case{4.0 * N * D * width(type), 0, both([=] { return op::rotate(x, angles.cos(), angles.sin()); })};
  });
  add("rotate/plain", [](auto type) {
    const Tensor x = random({4, N / 4, 8, 64}, type, true), angles = torch::randn({N / 4, 1, 8});
    const Tensor cos = angles.cos().to(type), sin = angles.sin().to(type);
    return Case{4.0 * N * D * width(type), 0, both([=] {
                  const Tensor a = x.slice(3, 0, 8), b = x.slice(3, 8, 16);
                  return torch::cat({a * cos - b * sin, b * cos + a * sin, x.slice(3, 16)}, 3);
                })};
  });
}

void add_head() {
  for (const int64_t chunk : {int64_t{0}, int64_t{256}, int64_t{512}, int64_t{1024}, int64_t{2048}, N}) {
    add("head_loss/" + (chunk == 0 ? std::string("plain") : "chunk " + std::to_string(chunk)), [=](auto type) {
      const Tensor hidden = random({N, D}, type, true), targets = torch::randint(0, V, {N}, torch::kLong);
      Tensor weight = random({V, D}, type);
      op::make_parameter(weight);
      return Case{0, 6.0 * N * D * V,
                  both([=] { return op::head_loss(hidden, weight, targets, {.chunk = chunk, .denominator = N}); })};
    });
  }
  for (const bool options : {false, true}) {
    add(std::string("head_step/") + (options ? "every option" : "chunk 1024"), [=](auto type) {
      const Tensor hidden = random({N, D}, type), targets = torch::randint(0, V, {N}, torch::kLong);
      Tensor weight = random({V, D}, type);
      op::make_parameter(weight);
      op::HeadForm form{.chunk = 1024, .denominator = N};
      if (options) form = {1024, N, 30, 1e-4, 0.1, torch::rand({N})};
      return Case{0, 6.0 * N * D * V, [=] {
                    Tensor consumed = hidden.clone();
                    benchmark::DoNotOptimize(op::head_step(consumed, weight, targets, form));
                  }};
    });
  }
}

void add_linear() {
  for (const bool fused : {true, false}) {
    add(std::string("linear/") + (fused ? "fused" : "plain"), [=](auto type) {
      const Tensor x = random({N, D}, type, true);
      Tensor w = random({F, D}, type), b = random({F}, type);
      op::make_parameter(w);
      op::make_parameter(b);
      return Case{0, 6.0 * N * D * F, both([=] { return fused ? op::linear(x, w, b) : at::linear(x, w, b); })};
    });
    add(std::string("embedding/") + (fused ? "fused" : "plain"), [=](auto type) {
      const Tensor ids = torch::randint(0, V, {N}, torch::kLong);
      Tensor w = random({V, D}, type);
      op::make_parameter(w);
      return Case{0, 0, both([=] { return fused ? op::embedding(ids, w) : at::embedding(w, ids); })};
    });
  }
}

void add_updates() {
  constexpr int64_t n = int64_t{16} << 20;
  add("adamw/fused", [](auto type) {
    Tensor master = torch::randn({n}), weight = type == torch::kFloat ? master : master.to(type);
    Tensor first = torch::zeros({n}), second = torch::zeros({n}), gradient = torch::randn({n});
    return Case{double(n) * (type == torch::kFloat ? 28 : 30), 0, [=]() mutable {
                  op::adamw_step(master, weight, gradient, first, second, {1e-3, 0.9, 0.95, 1e-8, 0.1, 1, 1});
                }};
  });
  add("adamw/plain", [](auto type) {
    const Tensor weight = torch::randn({n}).to(type).requires_grad_(true);
    weight.mutable_grad() = torch::randn({n}).to(type);
    auto optimizer = std::make_shared<torch::optim::AdamW>(std::vector<Tensor>{weight});
    return Case{double(n) * 28, 0, [=] { optimizer->step(); }};
  });
  add("global_norm/fused", [](auto type) {
    const std::vector<Tensor> one{random({n}, type)};
    return Case{double(n) * width(type), 0, [=] { benchmark::DoNotOptimize(op::global_norm(one)); }};
  });
}

}  // namespace

void add_operators() {
  add_activations();
  add_norms();
  add_rotary();
  add_head();
  add_linear();
  add_updates();
}

}  // namespace accordion::bench
