#include "op/head_loss.h"

#include "op/gradient.h"
#include "op/gradients.h"
#include "op/linear.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

Tensor some_targets(int64_t rows, int64_t vocabulary) {
  auto generator = at::detail::createCPUGenerator(5);
  Tensor targets = at::randint(0, vocabulary, {rows}, generator, torch::kLong);
  for (int64_t i = 0; i < rows; i += 4) targets[i] = kIgnore;
  return targets;
}

TEST(HeadLoss, ByFiniteDifferencesForEveryChunk) {
  const int64_t rows = 7, vocabulary = 5;
  for (const Tensor& targets : {some_targets(rows, vocabulary), torch::full({rows}, kIgnore, torch::kLong)}) {
    for (const int64_t chunk : {int64_t{0}, int64_t{1}, int64_t{3}, rows - 1, rows, rows + 1}) {
      test::ExpectGradients([&](const auto& in) { return head_loss(in[0], in[1], targets, 5, chunk); },
                            {random_tensor({rows, 3}, 1), random_tensor({vocabulary, 3}, 2)});
    }
  }
}

struct Outcome {
  Tensor loss, dhidden, dweight;
};

Outcome run(int64_t chunk, torch::ScalarType type, torch::ScalarType values, double incoming, int64_t rows = 37,
            int64_t width = 24, int64_t vocabulary = 131) {
  const Tensor hidden = random_tensor({rows, width}, 1).to(values).to(type).requires_grad_(true);
  Tensor weight = random_tensor({vocabulary, width}, 2).to(values).to(type);
  make_parameter(weight);
  const Tensor loss = head_loss(hidden, weight, some_targets(rows, vocabulary), 29, chunk);
  loss.backward(torch::full_like(loss, incoming));
  return {loss, hidden.grad(), weight.grad()};
}

TEST(HeadLoss, ChunksAreAsExactAsTheWhole) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const Outcome truth = run(0, torch::kDouble, type, 0.5);
    const Outcome plain = run(0, type, type, 0.5);
    for (const int64_t chunk : {1, 3, 36, 37, 38, 64}) {
      const Outcome got = run(chunk, type, type, 0.5);
      const std::string what = "chunk " + std::to_string(chunk);
      EXPECT_EQ(got.loss.scalar_type(), torch::kFloat);
      EXPECT_LE(test::relative_error(got.loss, truth.loss), type == torch::kFloat ? 1e-6 : 4e-3) << what;
      test::ExpectAsExact(got.dhidden, plain.dhidden, truth.dhidden, what + " hidden");
      test::ExpectAsExact(got.dweight, plain.dweight, truth.dweight, what + " weight");
    }
  }
}

TEST(HeadLoss, FrozenAndWithoutGradient) {
  const Tensor targets = some_targets(9, 11), hidden = random_tensor({9, 4}, 1), weight = random_tensor({11, 4}, 2);
  const double expected = head_loss(hidden, weight, targets, 6, 0).item<double>();
  EXPECT_NEAR(head_loss(hidden, weight, targets, 6, 2).item<double>(), expected, 1e-12);
  for (const bool freeze_hidden : {false, true}) {
    const Tensor h = hidden.clone().requires_grad_(!freeze_hidden), w = weight.clone().requires_grad_(freeze_hidden);
    const Tensor loss = head_loss(h, w, targets, 6, 2);
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), expected, 1e-12);
    EXPECT_EQ(h.grad().defined(), !freeze_hidden);
    EXPECT_EQ(w.grad().defined(), freeze_hidden);
  }
  torch::NoGradGuard no_grad;
  const Tensor h = hidden.clone().requires_grad_(true);
  EXPECT_FALSE(head_loss(h, weight, targets, 6, 2).requires_grad());
}

TEST(HeadLoss, MicrobatchesAddUpToOneStep) {
  const Tensor targets = some_targets(12, 11), hidden = random_tensor({12, 4}, 1, torch::kFloat);
  Tensor whole = random_tensor({11, 4}, 2, torch::kFloat), parts = whole.clone();
  make_parameter(whole);
  make_parameter(parts);
  head_loss(hidden, whole, targets, 9, 3).backward();
  for (int64_t row = 0; row < 12; row += 4)
    head_loss(hidden.slice(0, row, row + 4), parts, targets.slice(0, row, row + 4), 9, 3).backward();
  EXPECT_LE(test::relative_error(parts.grad(), whole.grad()), 1e-6);
}

TEST(HeadLoss, ATiedWeightGetsBothGradients) {
  const Tensor ids = torch::tensor({3, 0, 3, 7}, torch::kLong), targets = torch::tensor({0, 3, 7, 1}, torch::kLong);
  for (const int64_t chunk : {0, 3}) {
    Tensor weight = random_tensor({11, 4}, 2, torch::kFloat);
    make_parameter(weight);
    Tensor plain = weight.detach().clone().requires_grad_(true);
    head_loss(op::embedding(ids, weight) * 2, weight, targets, 4, chunk).backward();
    at::cross_entropy_loss((at::embedding(plain, ids) * 2).mm(plain.t()), targets).backward();
    EXPECT_LE(test::relative_error(weight.grad(), plain.grad()), 1e-6);
  }
}

TEST(HeadLoss, LogProbabilities) {
  const Tensor targets = some_targets(9, 11), hidden = random_tensor({9, 4}, 1, torch::kFloat),
               weight = random_tensor({11, 4}, 2, torch::kFloat);
  const Tensor all = hidden.mm(weight.t()).log_softmax(-1);
  const Tensor expected = all.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1) * (targets != kIgnore);
  EXPECT_TRUE(torch::allclose(head_log_probabilities(hidden, weight, targets), expected, 1e-5, 1e-6));
}

TEST(HeadLoss, LogProbabilitiesOfSoftCappedLogits) {
  const Tensor hidden = random_tensor({9, 5}, 1, torch::kFloat), weight = random_tensor({13, 5}, 2, torch::kFloat);
  const Tensor targets = torch::tensor({0, 3, 12, -100, 5, 1, 7, 2, 9}, torch::kLong);
  const Tensor logits = torch::tanh(hidden.matmul(weight.t()) / 1.5) * 1.5;
  const Tensor expected = -at::cross_entropy_loss(logits, targets, {}, at::Reduction::None, kIgnore);
  EXPECT_TRUE(torch::allclose(head_log_probabilities(hidden, weight, targets, 1.5), expected, 1e-5, 1e-6));
}

}  // namespace accordion::op
