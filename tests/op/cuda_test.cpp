#include <optional>

#include "op/attention.h"
#include "op/attention_chunk.h"
#include "op/attention_path.h"
#include "op/gradients.h"
#include "op/head_loss.h"

/// What a GPU does otherwise than a processor; all of it is skipped where there is none.
namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

namespace {

/// Of the plain path's error: with few queries the two round differently by chance.
constexpr double kFactor = 3;

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device here";
  }
};

Tensor on_gpu(const Tensor& x) { return x.defined() ? x.detach().to(torch::kCUDA) : x; }

struct Shape {
  int64_t B, T, S, H, K, E;
};
struct Outcome {
  Tensor output, dq, dk, dv;
};

Outcome run(std::optional<AttentionPath> path, const Shape& s, const AttentionForm& form, torch::ScalarType type) {
  const auto make = [&](at::IntArrayRef sizes, uint64_t seed) {
    return on_gpu((random_tensor(sizes, seed) * 1.5).to(torch::kBFloat16).to(type)).requires_grad_(true);
  };
  const Tensor q = make({s.B, s.T, s.H, s.E}, 1), k = make({s.B, s.S, s.K, s.E}, 2), v = make({s.B, s.S, s.K, s.E}, 3);
  const AttentionResult result = path ? attention_by(*path, q, k, v, form) : plain_attention(q, k, v, form);
  result.output.backward(on_gpu(random_tensor(result.output.sizes(), 4).to(torch::kBFloat16).to(type)));
  return {result.output, q.grad(), k.grad(), v.grad()};
}

std::vector<AttentionForm> flash_forms(const Shape& s) {
  std::vector<AttentionForm> forms(5);
  for (auto& form : forms) form.scale = 1 / std::sqrt(double(s.E));
  forms[1].window = std::max<int64_t>(1, s.S / 3);
  forms[2].window = 2;
  if (s.T != s.S) return forms;
  for (const int which : {3, 4}) {
    for (int64_t row = 0; row < s.B; ++row) {
      const int64_t first = 1 + s.T / (2 + row), second = (s.T - first) / 2;
      forms[size_t(which)].pieces.push_back({first, second, s.T - first - second});
    }
  }
  forms[4].window = std::max<int64_t>(1, s.S / 5);
  return forms;
}

TEST_F(Cuda, FlashIsAttention) {
  for (const Shape& shape : {Shape{2, 65, 65, 4, 2, 16}, Shape{1, 200, 200, 3, 1, 64}, Shape{2, 7, 130, 4, 4, 8},
                             Shape{1, 1, 50, 8, 2, 128}, Shape{2, 33, 33, 2, 2, 256}}) {
    for (const AttentionForm& form : flash_forms(shape)) {
      SCOPED_TRACE("T " + std::to_string(shape.T) + ", S " + std::to_string(shape.S) + ", window " +
                   std::to_string(form.window) + ", pieces " + std::to_string(form.pieces.size()));
      const Tensor q = on_gpu(torch::empty({1, 1, 1, shape.E}, torch::kBFloat16));
      ASSERT_EQ(attention_path(q, q, form), AttentionPath::flash);
      const Outcome truth = run({}, shape, form, torch::kDouble), plain = run({}, shape, form, torch::kBFloat16),
                    flash = run(AttentionPath::flash, shape, form, torch::kBFloat16);
      test::ExpectAsExact(flash.output, plain.output, truth.output, "output", kFactor);
      test::ExpectAsExact(flash.dq, plain.dq, truth.dq, "dq", kFactor);
      test::ExpectAsExact(flash.dk, plain.dk, truth.dk, "dk", kFactor);
      test::ExpectAsExact(flash.dv, plain.dv, truth.dv, "dv", kFactor);
    }
  }
}

TEST_F(Cuda, TilesAreAttention) {
  const Shape shape{2, 300, 300, 4, 2, 16};
  for (AttentionForm form : flash_forms(shape)) {
    form.soft_cap = 1.5;
    form.alibi_slopes = on_gpu(torch::pow(2.0, -torch::arange(1, shape.H + 1, torch::kFloat)));
    ASSERT_FALSE(cuda_flash_works(on_gpu(torch::empty({1, 1, 1, 16}, torch::kBFloat16)), form));
    const Outcome truth = run({}, shape, form, torch::kDouble),
                  tiles = run(AttentionPath::blocks, shape, form, torch::kDouble);
    EXPECT_LT(test::relative_error(tiles.output, truth.output), 1e-10);
    EXPECT_LT(test::relative_error(tiles.dq, truth.dq), 1e-10);
    EXPECT_LT(test::relative_error(tiles.dk, truth.dk), 1e-10);
    EXPECT_LT(test::relative_error(tiles.dv, truth.dv), 1e-10);
  }
}

/// The queries of a row by chunks, the gradients of keys and values summed over them, are the row's at once.
TEST_F(Cuda, FlashByChunksOfQueries) {
  const Shape s{1, 333, 333, 4, 2, 32};
  for (const AttentionForm& form : flash_forms(s)) {
    SCOPED_TRACE("window " + std::to_string(form.window) + ", pieces " + std::to_string(form.pieces.size()));
    const auto make = [&](int64_t heads, uint64_t seed) {
      return on_gpu(random_tensor({1, s.T, heads, s.E}, seed).to(torch::kBFloat16));
    };
    const Tensor q = make(s.H, 1), k = make(s.K, 2), v = make(s.K, 3), dy = make(s.H, 4);
    const Tensor first = first_keys(form, 1, s.T, s.T);
    const auto row = std::make_shared<KeyedRow>(KeyedRow::Sizes{s.T, s.H, s.K, s.E}, k.options());
    row->put(k, v, 0);
    row->begin_backward();
    Tensor output = torch::empty_like(q), dq = torch::empty_like(q);
    constexpr int64_t kChunk = 100;
    for (int64_t begin = (s.T - 1) / kChunk * kChunk; begin >= 0; begin -= kChunk) {
      const auto part = [&](const Tensor& all) { return all.slice(1, begin, std::min(begin + kChunk, s.T)); };
      const Tensor leaf = part(q).clone().requires_grad_(true);
      const Tensor y = attention_chunk(leaf, part(k), part(v), begin, first, form, row);
      y.backward(part(dy));
      part(output).copy_(y.detach());
      part(dq).copy_(leaf.grad());
    }
    const auto leaf = [](const Tensor& x) { return x.to(torch::kDouble).requires_grad_(true); };
    const auto at_once = [&](const Tensor& qq, const Tensor& kk, const Tensor& vv) {
      const Tensor y = plain_attention(qq, kk, vv, form).output;
      y.backward(dy.to(y.scalar_type()));
      return Outcome{y, qq.grad(), kk.grad(), vv.grad()};
    };
    const Outcome truth = at_once(leaf(q), leaf(k), leaf(v)),
                  plain = at_once(q.clone().requires_grad_(true), k.clone().requires_grad_(true),
                                  v.clone().requires_grad_(true));
    test::ExpectAsExact(output, plain.output, truth.output, "output", kFactor);
    test::ExpectAsExact(dq, plain.dq, truth.dq, "dq", kFactor);
    test::ExpectAsExact(row->dkeys.slice(2, 0, s.T).transpose(1, 2), plain.dk, truth.dk, "dk", kFactor);
    test::ExpectAsExact(row->dvalues.slice(2, 0, s.T).transpose(1, 2), plain.dv, truth.dv, "dv", kFactor);
  }
}

/// Gradients do not depend on the order in which a GPU's processors come.
TEST_F(Cuda, FlashGivesTheSameGradientsEveryTime) {
  AttentionForm form;
  const Shape shape{1, 4096, 4096, 4, 2, 64};
  const Outcome one = run(AttentionPath::flash, shape, form, torch::kBFloat16);
  for (int time = 0; time < 5; ++time) {
    const Outcome again = run(AttentionPath::flash, shape, form, torch::kBFloat16);
    EXPECT_TRUE(torch::equal(one.dq, again.dq) && torch::equal(one.dk, again.dk) && torch::equal(one.dv, again.dv));
  }
}

TEST_F(Cuda, HeadByMiniSequences) {
  const int64_t N = 37, D = 24, V = 53;
  Tensor targets = torch::arange(N, torch::kLong) * 7 % V;
  targets[0] = targets[36] = kIgnore;
  const HeadForm form{.chunk = 10, .denominator = 35, .soft_cap = 2, .z_loss = 1e-2, .label_smoothing = 0.1};
  const auto gradients = [&](torch::Device device) {
    const Tensor hidden = random_tensor({N, D}, 1).to(device).requires_grad_(true),
                 weight = random_tensor({V, D}, 2).to(device).requires_grad_(true);
    head_loss(hidden, weight, targets.to(device), form).backward();
    return std::pair(hidden.grad().cpu(), weight.grad().cpu());
  };
  const auto expected = gradients(torch::kCPU), got = gradients(torch::kCUDA);
  EXPECT_LT(test::relative_error(got.first, expected.first), 1e-10);
  EXPECT_LT(test::relative_error(got.second, expected.second), 1e-10);
}

}  // namespace

}  // namespace accordion::op
