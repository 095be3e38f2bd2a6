#include "op/attention.h"

#include "op/attention_path.h"
#include "op/cpu/tensors.h"
#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

struct Shape {
  int64_t B, T, S, H, K, E;
};

std::string name_of(const Shape& s) {
  std::string name;
  for (const int64_t n : {s.B, s.T, s.S, s.H, s.K, s.E}) name += std::to_string(n) + " ";
  return name;
}

enum class Kind { causal, alibi, window, pieces, soft_cap, everything };
constexpr Kind kKinds[] = {Kind::causal, Kind::alibi, Kind::window, Kind::pieces, Kind::soft_cap, Kind::everything};

AttentionForm form_of(Kind kind, const Shape& shape) {
  AttentionForm form;
  form.scale = 1 / std::sqrt(double(shape.E));
  const bool all = kind == Kind::everything;
  if (kind == Kind::alibi || all)
    form.alibi_slopes = torch::pow(2.0, -torch::arange(1, shape.H + 1, torch::kFloat) / 2);
  if (kind == Kind::window || all) form.window = std::max<int64_t>(1, shape.S / 3);
  if (kind == Kind::soft_cap || all) form.soft_cap = 1.5;
  if ((kind == Kind::pieces || all) && shape.T == shape.S) {
    for (int64_t row = 0; row < shape.B; ++row) {
      const int64_t first = std::min(shape.T - 1, 1 + shape.T / (2 + row)), second = (shape.T - first) / 2;
      form.pieces.push_back({first, second, shape.T - first - second});
    }
  }
  return form;
}

struct Outcome {
  Tensor output, lse, dq, dk, dv;
};

/// By the definition where there is no path.
Outcome run(std::optional<AttentionPath> path, const Shape& shape, const AttentionForm& form, torch::ScalarType type,
            torch::ScalarType values) {
  const auto make = [&](at::IntArrayRef sizes, uint64_t seed) {
    return (random_tensor(sizes, seed) * 1.5).to(values).to(type).requires_grad_(true);
  };
  const Tensor q = make({shape.B, shape.T, shape.H, shape.E}, 1), k = make({shape.B, shape.S, shape.K, shape.E}, 2),
               v = make({shape.B, shape.S, shape.K, shape.E}, 3);
  const AttentionResult result = path ? attention_by(*path, q, k, v, form) : plain_attention(q, k, v, form);
  result.output.backward(random_tensor(result.output.sizes(), 4).to(values).to(type));
  return {result.output, result.lse, q.grad(), k.grad(), v.grad()};
}

/// Every path that can take the call.
std::vector<AttentionPath> paths(const Shape& shape, Kind kind, torch::ScalarType type) {
  std::vector<AttentionPath> all{AttentionPath::blocks};
  const Tensor q = torch::empty({1, 1, 1, shape.E}, type);
  if (attention_path(q, q, {}) == AttentionPath::fused) all.push_back(AttentionPath::fused);
  if (kind == Kind::causal && shape.T == shape.S) all.push_back(AttentionPath::flash);
  return all;
}

TEST(Attention, ByFiniteDifferences) {
  for (const Shape& shape : {Shape{2, 5, 5, 2, 1, 3}, Shape{1, 3, 5, 2, 2, 2}}) {
    for (const Kind kind : kKinds) {
      SCOPED_TRACE("kind " + std::to_string(int(kind)) + " shape " + name_of(shape));
      const AttentionForm form = form_of(kind, shape);
      test::ExpectGradients([&](const auto& in) { return attention(in[0], in[1], in[2], form).output; },
                            {random_tensor({shape.B, shape.T, shape.H, shape.E}, 1),
                             random_tensor({shape.B, shape.S, shape.K, shape.E}, 2),
                             random_tensor({shape.B, shape.S, shape.K, shape.E}, 3)});
    }
  }
}

TEST(Attention, AsExactAsThePlainVersion) {
  const Shape shapes[] = {{2, 1, 1, 2, 2, 8},      {1, 65, 65, 3, 1, 16},  {2, 130, 130, 4, 2, 64},
                          {1, 517, 517, 2, 2, 40}, {1, 1, 77, 4, 2, 16},   {2, 33, 200, 4, 4, 32},
                          {1, 700, 700, 2, 1, 64}, {1, 300, 500, 2, 2, 64}};
  for (const Shape& shape : shapes) {
    for (const Kind kind : kKinds) {
      const AttentionForm form = form_of(kind, shape);
      for (const auto type : {torch::kFloat, torch::kBFloat16}) {
        const Outcome truth = run(std::nullopt, shape, form, torch::kDouble, type);
        const Outcome plain = run(std::nullopt, shape, form, type, type);
        for (const AttentionPath path : paths(shape, kind, type)) {
          const Outcome got = run(path, shape, form, type, type);
          const std::string what = "path " + std::to_string(int(path)) + " kind " + std::to_string(int(kind)) +
                                   (type == torch::kFloat ? " f32 " : " bf16 ") + name_of(shape);
          test::ExpectAsExact(got.output, plain.output, truth.output, what + "output");
          ASSERT_EQ(got.lse.sizes(), truth.lse.sizes()) << what;
          EXPECT_LE(test::relative_error(got.lse, truth.lse), type == torch::kFloat ? 1e-5 : 1e-2) << what << "lse";
          if (shape.S == 1) {  // one key has weight 1 whatever its score: what is left is rounding
            EXPECT_LE(got.dq.abs().max().item<double>(), type == torch::kFloat ? 1e-6 : 2e-2) << what << "dq";
            EXPECT_LE(got.dk.abs().max().item<double>(), type == torch::kFloat ? 1e-6 : 2e-2) << what << "dk";
          } else {
            // Every flash attention takes sum(P dP) from the rounded output; with a single query nothing averages that
            // out.
            const double factor = shape.T == 1 ? 5 : 2;
            test::ExpectAsExact(got.dq, plain.dq, truth.dq, what + "dq", factor);
            test::ExpectAsExact(got.dk, plain.dk, truth.dk, what + "dk", factor);
          }
          test::ExpectAsExact(got.dv, plain.dv, truth.dv, what + "dv");
        }
      }
    }
  }
}

TEST(Attention, QueriesWithACacheSeeTheirOwnPosition) {
  const Shape shape{1, 9, 9, 2, 1, 8};
  for (const Kind kind : {Kind::causal, Kind::alibi, Kind::window, Kind::soft_cap}) {
    const AttentionForm form = form_of(kind, shape);
    const Tensor q = random_tensor({1, 9, 2, 8}, 1, torch::kFloat), k = random_tensor({1, 9, 1, 8}, 2, torch::kFloat),
                 v = random_tensor({1, 9, 1, 8}, 3, torch::kFloat);
    const Tensor whole = attention(q, k, v, form).output;
    for (int64_t t = 0; t < 9; ++t) {
      const Tensor one = attention(q.slice(1, t, t + 1), k.slice(1, 0, t + 1), v.slice(1, 0, t + 1), form).output;
      EXPECT_LE(test::relative_error(one, whole.slice(1, t, t + 1)), 1e-5) << t;
    }
  }
}

TEST(Attention, ReadsSlicesOfAJointProjection) {
  const int64_t B = 2, T = 70, H = 2, E = 16;
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Tensor joint = random_tensor({B, T, H, 3 * E}, 1, type);
    const auto part = [&](int64_t i) { return joint.slice(3, i * E, (i + 1) * E).detach().requires_grad_(true); };
    const Tensor q = part(0), k = part(1), v = part(2);
    const AttentionForm form = form_of(Kind::causal, {B, T, T, H, H, E});
    const Tensor dense = attention(q.contiguous(), k.contiguous(), v.contiguous(), form).output;
    const Tensor sliced = attention(q, k, v, form).output;
    EXPECT_TRUE(torch::equal(dense, sliced));
    sliced.sum().backward();
    EXPECT_EQ(q.grad().sizes(), q.sizes());
  }
}

TEST(Attention, TheSameBitsForAnyNumberOfThreadsForward) {
  const Shape shape{1, 333, 333, 4, 2, 32};
  const AttentionForm form = form_of(Kind::window, shape);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Outcome one = run(AttentionPath::fused, shape, form, torch::kFloat, torch::kFloat);
  at::set_num_threads(7);  // more than heads: the backward pass deals a head's queries to several parts
  const Outcome many = run(AttentionPath::fused, shape, form, torch::kFloat, torch::kFloat);
  const Outcome again = run(AttentionPath::fused, shape, form, torch::kFloat, torch::kFloat);
  at::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one.output, many.output));
  EXPECT_TRUE(torch::equal(one.dq, many.dq));
  EXPECT_LE(test::relative_error(many.dk, one.dk), 1e-5);
  EXPECT_LE(test::relative_error(many.dv, one.dv), 1e-5);
  EXPECT_TRUE(torch::equal(many.dk, again.dk));
}

TEST(Attention, NotANumberStaysOne) {
  const Shape shape{1, 70, 70, 1, 1, 16};
  Tensor q = random_tensor({1, 70, 1, 16}, 1, torch::kFloat);
  q[0][5][0][3] = std::nan("");
  const Tensor k = random_tensor({1, 70, 1, 16}, 2, torch::kFloat);
  EXPECT_TRUE(attention(q, k, k, form_of(Kind::causal, shape)).output[0][5].isnan().any().item<bool>());
}

}  // namespace accordion::op
