#include "op/head_loss.h"

#include "memory/allocator.h"
#include "op/gradient.h"
#include "op/gradients.h"
#include "op/linear.h"
#include "op/norm.h"

namespace accordion::op {
namespace {

using test::random_tensor;
using torch::Tensor;

Tensor some_targets(int64_t rows, int64_t vocabulary) {
  auto generator = at::detail::createCPUGenerator(5);
  Tensor targets = at::randint(0, vocabulary, {rows}, generator, torch::kLong);
  for (int64_t i = 0; i < rows; i += 4) targets[i] = kIgnore;
  return targets;
}

/// Between 0 and 2, and 0 in every fifth row.
Tensor some_weights(int64_t rows) {
  Tensor weights = random_tensor({rows}, 6, torch::kFloat).sigmoid() * 2;
  for (int64_t i = 1; i < rows; i += 5) weights[i] = 0;
  return weights;
}

struct Option {
  std::string name;
  HeadForm form;
};

/// Every option alone, then all of them together.
std::vector<Option> options(int64_t rows, double denominator) {
  const auto with = [&](auto change) {
    HeadForm form{.denominator = denominator};
    change(form);
    return form;
  };
  return {{"nothing", with([](HeadForm&) {})},
          {"soft cap", with([](HeadForm& form) { form.soft_cap = 1.5; })},
          {"z-loss", with([](HeadForm& form) { form.z_loss = 0.1; })},
          {"label smoothing", with([](HeadForm& form) { form.label_smoothing = 0.2; })},
          {"token weights", with([&](HeadForm& form) { form.token_weights = some_weights(rows); })},
          {"everything", {0, denominator, 1.5, 0.1, 0.2, some_weights(rows)}}};
}

std::vector<int64_t> chunks_of(int64_t rows) { return {1, 3, rows - 1, rows, rows + 1}; }

HeadForm by(int64_t chunk, HeadForm form) {
  form.chunk = chunk;
  return form;
}

TEST(HeadLoss, TheDefinitionFollowsItsFormula) {
  const int64_t rows = 7, vocabulary = 5;
  const Tensor hidden = random_tensor({rows, 3}, 1), weight = random_tensor({vocabulary, 3}, 2);
  const Tensor targets = some_targets(rows, vocabulary), weights = some_weights(rows);
  const double cap = 1.5, z = 0.1, smoothing = 0.2;
  double expected = 0;
  for (int64_t row = 0; row < rows; ++row) {
    if (targets[row].item<int64_t>() == kIgnore) continue;
    std::vector<double> y;
    double sum = 0;
    for (int64_t v = 0; v < vocabulary; ++v) {
      y.push_back(cap * std::tanh((hidden[row] * weight[v]).sum().item<double>() / cap));
      sum += std::exp(y.back());
    }
    double loss = z * std::log(sum) * std::log(sum);
    for (int64_t v = 0; v < vocabulary; ++v) {
      const double wanted = smoothing / double(vocabulary) + (v == targets[row].item<int64_t>() ? 1 - smoothing : 0);
      loss -= wanted * std::log(std::exp(y[size_t(v)]) / sum);
    }
    expected += weights[row].item<double>() * loss;
  }
  EXPECT_NEAR(head_loss(hidden, weight, targets, {0, 5, cap, z, smoothing, weights}).item<double>(), expected / 5,
              1e-12);
}

TEST(HeadLoss, ByFiniteDifferencesForEveryChunkAndOption) {
  const int64_t rows = 7, vocabulary = 5;
  Tensor first = some_targets(rows, vocabulary), last = first.clone();
  first.slice(0, 0, 3).fill_(kIgnore);
  last.slice(0, 3).fill_(kIgnore);
  const Tensor none = torch::full({rows}, kIgnore, torch::kLong);
  for (const Tensor& targets : {some_targets(rows, vocabulary), first, last, none}) {
    for (const auto& [name, form] : options(rows, 5)) {
      for (const int64_t chunk : {int64_t{0}, int64_t{1}, int64_t{3}, rows - 1, rows, rows + 1}) {
        SCOPED_TRACE(name + ", chunk " + std::to_string(chunk));
        test::ExpectGradients(
            [&, &form = form](const auto& in) { return head_loss(in[0], in[1], targets, by(chunk, form)); },
            {random_tensor({rows, 3}, 1), random_tensor({vocabulary, 3}, 2)});
      }
    }
  }
}

struct Outcome {
  Tensor loss, dhidden, dweight;
};

/// What head_loss and its backward give, or head_step where `step`; values are drawn in the type `values`.
struct Problem {
  torch::ScalarType values = torch::kDouble;
  int64_t rows = 37, width = 24, vocabulary = 131;
  Tensor targets = some_targets(rows, vocabulary);

  Outcome run(const HeadForm& form, torch::ScalarType type, double incoming = 1) const {
    const Tensor hidden = drawn({rows, width}, 1, type).requires_grad_(true);
    Tensor weight = drawn({vocabulary, width}, 2, type);
    make_parameter(weight);
    const Tensor loss = head_loss(hidden, weight, targets, form);
    loss.backward(torch::full_like(loss, incoming));
    return {loss, hidden.grad(), weight.grad()};
  }

  Outcome step(const HeadForm& form, torch::ScalarType type) const {
    Tensor hidden = drawn({rows, width}, 1, type), weight = drawn({vocabulary, width}, 2, type);
    make_parameter(weight);
    const double loss = head_step(hidden, weight, targets, form);
    return {torch::tensor(loss, torch::kDouble), hidden, weight.grad()};
  }

 private:
  Tensor drawn(at::IntArrayRef sizes, uint64_t seed, torch::ScalarType type) const {
    return random_tensor(sizes, seed).to(values).to(type);
  }
};

TEST(HeadLoss, ChunksAndTheStepAreTheDefinitionInF64) {
  const Problem problem;
  for (const auto& [name, form] : options(problem.rows, 29)) {
    const Outcome expected = problem.run(form, torch::kDouble, -0.5), unscaled = problem.run(form, torch::kDouble);
    for (const int64_t chunk : chunks_of(problem.rows)) {
      SCOPED_TRACE(name + ", chunk " + std::to_string(chunk));
      const Outcome got = problem.run(by(chunk, form), torch::kDouble, -0.5);
      EXPECT_LE(test::relative_error(got.loss, expected.loss), 1e-14);
      EXPECT_LE(test::relative_error(got.dhidden, expected.dhidden), 1e-13);
      EXPECT_LE(test::relative_error(got.dweight, expected.dweight), 1e-13);
      const Outcome step = problem.step(by(chunk, form), torch::kDouble);
      EXPECT_LE(test::relative_error(step.loss, unscaled.loss), 1e-14);
      EXPECT_LE(test::relative_error(step.dhidden, unscaled.dhidden), 1e-13);
      EXPECT_LE(test::relative_error(step.dweight, unscaled.dweight), 1e-13);
    }
  }
}

TEST(HeadLoss, ChunksAndTheStepAreAsExactAsTheWhole) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    for (const Tensor& targets : {some_targets(37, 131), some_targets(37, 131).clamp_min(0)}) {
      const Problem problem{.values = type, .targets = targets};
      for (const auto& [name, form] : options(problem.rows, 29)) {
        const Outcome truth = problem.run(form, torch::kDouble), plain = problem.run(form, type);
        for (const int64_t chunk : chunks_of(problem.rows)) {
          const std::string what = name + ", chunk " + std::to_string(chunk);
          const Outcome got = problem.run(by(chunk, form), type), step = problem.step(by(chunk, form), type);
          EXPECT_EQ(got.loss.scalar_type(), torch::kFloat);
          for (const auto& outcome : {got, step}) {
            EXPECT_LE(test::relative_error(outcome.loss, truth.loss), type == torch::kFloat ? 1e-6 : 4e-3) << what;
            test::ExpectAsExact(outcome.dhidden, plain.dhidden, truth.dhidden, what + " hidden");
            test::ExpectAsExact(outcome.dweight, plain.dweight, truth.dweight, what + " weight");
          }
        }
      }
    }
  }
}

TEST(HeadLoss, ALongVocabularyWithLargeLogits) {
  for (const double cap : {0.0, 30.0}) {
    const Problem problem{.values = torch::kFloat, .rows = 5, .width = 64, .vocabulary = 50304};
    const HeadForm form{.denominator = 4, .soft_cap = cap, .z_loss = 1e-4, .label_smoothing = 0.1};
    const Outcome truth = problem.run(form, torch::kDouble), plain = problem.run(form, torch::kFloat);
    const Outcome got = problem.step(by(2, form), torch::kFloat);
    EXPECT_LE(test::relative_error(got.loss, truth.loss), 1e-6);
    test::ExpectAsExact(got.dhidden, plain.dhidden, truth.dhidden, "hidden");
    test::ExpectAsExact(got.dweight, plain.dweight, truth.dweight, "weight");
  }
}

TEST(HeadLoss, FrozenAndWithoutGradient) {
  const Tensor targets = some_targets(9, 11), hidden = random_tensor({9, 4}, 1), weight = random_tensor({11, 4}, 2);
  for (const auto& [name, form] : options(9, 6)) {
    SCOPED_TRACE(name);
    const double expected = head_loss(hidden, weight, targets, form).item<double>();
    EXPECT_NEAR(head_loss(hidden, weight, targets, by(2, form)).item<double>(), expected, 1e-12);
    for (const bool freeze_hidden : {false, true}) {
      const Tensor h = hidden.clone().requires_grad_(!freeze_hidden), w = weight.clone().requires_grad_(freeze_hidden);
      const Tensor loss = head_loss(h, w, targets, by(2, form));
      loss.backward();
      EXPECT_NEAR(loss.item<double>(), expected, 1e-12);
      EXPECT_EQ(h.grad().defined(), !freeze_hidden);
      EXPECT_EQ(w.grad().defined(), freeze_hidden);
    }
    const torch::NoGradGuard no_grad;
    const Tensor h = hidden.clone().requires_grad_(true);
    const Tensor loss = head_loss(h, weight, targets, by(2, form));
    EXPECT_FALSE(loss.requires_grad());
    EXPECT_NEAR(loss.item<double>(), expected, 1e-12);
  }
}

TEST(HeadLoss, AStepLeavesAFrozenWeightAlone) {
  const Tensor targets = some_targets(9, 11), hidden = random_tensor({9, 4}, 1), weight = random_tensor({11, 4}, 2);
  const Tensor h = hidden.clone().requires_grad_(true);
  head_loss(h, weight, targets, {.denominator = 6}).backward();
  Tensor got = hidden.clone();
  head_step(got, weight, targets, {.chunk = 2, .denominator = 6});
  EXPECT_LE(test::relative_error(got, h.grad()), 1e-13);
  EXPECT_FALSE(weight.grad().defined());
}

TEST(HeadLoss, NoRowThatCounts) {
  const Tensor none = torch::full({9}, kIgnore, torch::kLong), some = some_targets(9, 11);
  for (const auto& [targets, weights] :
       {std::pair(none, Tensor()), std::pair(none, torch::ones({9})), std::pair(some, torch::zeros({9}))}) {
    const Problem problem{.rows = 9, .width = 4, .vocabulary = 11, .targets = targets};
    const HeadForm form{2, 6, 1.5, 0.1, 0.2, weights};
    for (const auto type : {torch::kDouble, torch::kFloat, torch::kBFloat16}) {
      for (const auto& got : {problem.run(form, type), problem.step(form, type)}) {
        EXPECT_EQ(got.loss.item<double>(), 0);
        EXPECT_EQ(got.dhidden.abs().max().item<double>(), 0);
        EXPECT_EQ(got.dweight.abs().max().item<double>(), 0);
      }
    }
  }
}

TEST(HeadLoss, RowsThatDoNotCountMayHoldAnything) {
  const Tensor targets = some_targets(9, 11), weight = random_tensor({11, 4}, 2, torch::kFloat);
  Tensor hidden = random_tensor({9, 4}, 1, torch::kFloat);
  const auto expected = head_loss(hidden, weight, targets, {.chunk = 2}).item<float>();
  hidden.masked_fill_((targets == kIgnore).unsqueeze(1), NAN);
  EXPECT_EQ(float(head_step(hidden, weight, targets, {.chunk = 2})), expected);
  EXPECT_TRUE(hidden.isfinite().all().item<bool>());
}

TEST(HeadLoss, MicrobatchesAddUpToOneStep) {
  const int64_t rows = 8, length = 6, width = 4;
  const Tensor hidden = random_tensor({rows, length, width}, 1, torch::kFloat), weights = some_weights(rows * length);
  Tensor targets = some_targets(rows * length, 11).view({rows, length});
  targets[0].fill_(kIgnore);  // uneven, and one with none that counts
  targets[3].slice(0, 1).fill_(kIgnore);
  for (const bool step : {false, true}) {
    std::vector<Outcome> outcomes;
    for (const int64_t at_once : {rows, int64_t{1}}) {
      Tensor weight = random_tensor({11, width}, 2, torch::kFloat);
      make_parameter(weight);
      double loss = 0;
      std::vector<Tensor> dhidden;
      for (int64_t row = 0; row < rows; row += at_once) {
        Tensor h = hidden.slice(0, row, row + at_once).flatten(0, 1).clone();  // (B,T,D) -> (N,D)
        const Tensor t = targets.slice(0, row, row + at_once).flatten();
        const HeadForm form{5, 21.5, 1.5, 0.1, 0.2, weights.slice(0, row * length, (row + at_once) * length)};
        if (step) {
          loss += head_step(h, weight, t, form);
        } else {
          const Tensor part = head_loss(h.requires_grad_(true), weight, t, form);
          part.backward();
          loss += part.item<double>();
        }
        dhidden.push_back(step ? h : h.grad());
      }
      outcomes.push_back({torch::tensor(loss, torch::kDouble), torch::cat(dhidden), weight.grad()});
    }
    EXPECT_LE(test::relative_error(outcomes[1].loss, outcomes[0].loss), 1e-6);
    EXPECT_LE(test::relative_error(outcomes[1].dhidden, outcomes[0].dhidden), 1e-6);
    EXPECT_LE(test::relative_error(outcomes[1].dweight, outcomes[0].dweight), 1e-6);
  }
}

TEST(HeadLoss, ATiedWeightGetsBothGradients) {
  const Tensor ids = torch::tensor({3, 0, 3, 7}, torch::kLong), targets = torch::tensor({0, 3, 7, 1}, torch::kLong);
  Tensor plain = random_tensor({11, 4}, 2, torch::kFloat).requires_grad_(true);
  at::cross_entropy_loss((at::embedding(plain, ids) * 2).mm(plain.t()), targets).backward();
  for (const int64_t chunk : {0, 3}) {
    Tensor weight = random_tensor({11, 4}, 2, torch::kFloat);
    make_parameter(weight);
    head_loss(op::embedding(ids, weight) * 2, weight, targets, {.chunk = chunk, .denominator = 4}).backward();
    EXPECT_LE(test::relative_error(weight.grad(), plain.grad()), 1e-6);
  }
  Tensor weight = random_tensor({11, 4}, 2, torch::kFloat);
  make_parameter(weight);
  const Tensor hidden = op::embedding(ids, weight) * 2;
  Tensor gradient = hidden.detach();
  head_step(gradient, weight, targets, {.chunk = 3, .denominator = 4});
  hidden.backward(gradient);
  EXPECT_LE(test::relative_error(weight.grad(), plain.grad()), 1e-6);
}

TEST(HeadLoss, AStepTakesWhatComesBeforeTheHeadByChunks) {
  const Tensor targets = some_targets(37, 11), scale = random_tensor({4}, 3);
  for (const bool all : {true, false}) {
    const Tensor counted = all ? targets.clamp_min(0) : targets;
    const auto run = [&](int64_t chunk) {
      const Tensor x = random_tensor({37, 4}, 1).requires_grad_(true);
      Tensor weight = random_tensor({11, 4}, 2), factor = scale.clone();
      make_parameter(weight);
      make_parameter(factor);
      const auto norm = [&](const Tensor& rows) { return rms_norm(rows, factor, 1e-5); };
      if (chunk == 0) {
        const Tensor loss = head_loss(norm(x), weight, counted, {.denominator = 3});
        loss.backward();
        return std::vector<Tensor>{loss.detach(), x.grad(), weight.grad(), factor.grad()};
      }
      Tensor gradient = x.detach().clone();
      const double loss = head_step(gradient, weight, counted, {.chunk = chunk, .denominator = 3}, norm);
      return std::vector<Tensor>{torch::tensor(loss, torch::kDouble), gradient, weight.grad(), factor.grad()};
    };
    const auto expected = run(0);
    for (const int64_t chunk : {1, 3, 36, 37, 38}) {
      const auto got = run(chunk);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_LE(test::relative_error(got[i], expected[i]), 1e-12) << "chunk " << chunk << ", result " << i;
    }
  }
}

TEST(HandOver, GivesTheGradientAwayOnce) {
  const Tensor leaf = random_tensor({5, 3}, 1).requires_grad_(true);
  Tensor x = leaf * 2, gradient = random_tensor({5, 3}, 2);
  const Tensor expected = gradient * 2;
  const auto* place = gradient.const_data_ptr();
  const void* seen = nullptr;
  size_t holders = 0;
  x.register_hook([&](const Tensor& incoming) {
    seen = incoming.const_data_ptr();
    holders = incoming.storage().use_count();
  });
  HandOver end(x);
  x.reset();
  end.backward(std::move(gradient));
  EXPECT_EQ(seen, place) << "a copy";
  EXPECT_EQ(holders, 1U) << "somebody else still holds it";
  EXPECT_LE(test::relative_error(leaf.grad(), expected), 1e-15);
}

TEST(HeadLoss, ASecondBackwardIsRefused) {
  const Tensor hidden = random_tensor({9, 4}, 1).requires_grad_(true), weight = random_tensor({11, 4}, 2);
  const Tensor loss = head_loss(hidden, weight, some_targets(9, 11), {.chunk = 2});
  loss.backward();
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(HeadLoss, RefusesABrokenContract) {
  const Tensor targets = some_targets(9, 11), weight = random_tensor({11, 4}, 2);
  Tensor hidden = random_tensor({9, 4}, 1), turned = random_tensor({4, 9}, 1).t();
  EXPECT_THROW(head_step(hidden, weight, targets, {}), c10::Error);
  EXPECT_THROW(head_step(turned, weight, targets, {.chunk = 2}), c10::Error);
  EXPECT_THROW(head_step(hidden, weight.clone().requires_grad_(true), targets, {.chunk = 2}), c10::Error);
  EXPECT_THROW(head_loss(hidden, weight, targets, {.chunk = 2, .token_weights = torch::ones({8})}), c10::Error);
  EXPECT_THROW(head_loss(hidden, weight, torch::full({9}, 11, torch::kLong), {.chunk = 2}), c10::Error);
  EXPECT_THROW(head_loss(hidden, weight, torch::full({9}, -1, torch::kLong), {.chunk = 2}), c10::Error);
}

TEST(HeadLoss, AStepHoldsNothingOfTheSizeOfAllLogits) {
  memory::tune_allocator();
  const int64_t width = 64, vocabulary = 30000, chunk = 32;
  const int64_t scratch = int64_t{512} << 10;  // of oneDNN: less than this for any V
  Tensor weight = random_tensor({vocabulary, width}, 2, torch::kBFloat16);
  make_parameter(weight);
  for (const int64_t rows : {64, 512}) {
    for (const bool all : {true, false}) {
      Tensor hidden = random_tensor({rows, width}, 1, torch::kBFloat16);
      const Tensor targets = all ? some_targets(rows, vocabulary).clamp_min(0) : some_targets(rows, vocabulary);
      memory::reset_peak();
      const int64_t before = memory::current_bytes();
      head_step(hidden, weight, targets, {.chunk = chunk, .denominator = 1});
      const int64_t logits = 2 * chunk * vocabulary, product = 2 * vocabulary * width;
      EXPECT_LE(memory::peak_bytes() - before, logits + product + scratch) << rows << " rows";
    }
  }
}

TEST(HeadLoss, LogProbabilities) {
  const Tensor targets = some_targets(9, 11), hidden = random_tensor({9, 4}, 1, torch::kFloat),
               weight = random_tensor({11, 4}, 2, torch::kFloat);
  for (const double cap : {0.0, 1.5}) {
    const Tensor logits = hidden.mm(weight.t());
    const Tensor all = (cap > 0 ? (logits / cap).tanh() * cap : logits).log_softmax(-1);
    const Tensor expected = all.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1) * (targets != kIgnore);
    EXPECT_TRUE(torch::allclose(head_log_probabilities(hidden, weight, targets, cap), expected, 1e-5, 1e-6));
  }
}

}  // namespace
}  // namespace accordion::op
