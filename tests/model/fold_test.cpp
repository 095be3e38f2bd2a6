#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "memory/allocator.h"
#include "model/tiny_models.h"
#include "op/gradients.h"
#include "op/head_loss.h"

/// Every way of folding gives the loss and the gradients of the unfolded model.
namespace accordion {
namespace {

constexpr int64_t kLength = 13;

struct Case {
  const char* name;
  memory::Fold fold;
};

std::vector<Case> folds() {
  std::vector<Case> all{
      {"recompute mlp", {.recompute = Recompute::mlp}},
      {"recompute attention", {.recompute = Recompute::attention}},
      {"recompute layer", {.recompute = Recompute::layer}},
      {"recompute every second layer", {.recompute = Recompute::layer, .every = 2}},
      {"keep attention", {.recompute = Recompute::layer, .keep_attention = true}},
      {"attention again, mlp by 5", {.recompute = Recompute::attention, .mlp = 5}},
  };
  for (const int64_t chunk : {int64_t{1}, int64_t{3}, kLength - 1, kLength, kLength + 1}) {
    all.push_back({"mlp", {.mlp = chunk}});
    all.push_back({"layer and mlp", {.recompute = Recompute::layer, .mlp = chunk}});
    all.push_back({"queries", {.recompute = Recompute::layer, .attention = chunk}});
    all.push_back(
        {"everything", {.recompute = Recompute::layer, .mlp = 2, .attention = chunk, .keep_attention = true}});
  }
  return all;
}

struct Outcome {
  double loss = 0;
  std::map<std::string, torch::Tensor> gradients;
};

Outcome run(const TinyModel& tiny, torch::Dtype dtype, const Pass& pass, double incoming = 1) {
  auto model = tiny_model(tiny, dtype);
  model.make_trainable();
  const auto generator = at::detail::createCPUGenerator(7);
  const auto ids = at::randint(0, 61, {2, kLength + 1}, generator, torch::kLong);
  auto targets = ids.narrow(1, 1, kLength).clone();
  targets.index_put_({0, torch::indexing::Slice(0, 4)}, op::kIgnore);  // the first chunk does not count at all
  const auto hidden = model.hidden(ids.narrow(1, 0, kLength), pass).flatten(0, 1);
  const auto loss = op::head_loss(hidden, model.head_weight(), targets.flatten(),
                                  {.chunk = 4, .denominator = 20, .soft_cap = model.config().final_soft_cap});
  loss.backward(torch::full_like(loss, incoming));
  Outcome outcome{loss.item<double>(), {}};
  for (const auto& [name, weight] : model.weights()) outcome.gradients[name] = weight.grad();
  return outcome;
}

void expect_equal(const Outcome& got, const Outcome& expected, double tolerance) {
  EXPECT_NEAR(got.loss, expected.loss, tolerance * expected.loss);
  for (const auto& [name, gradient] : expected.gradients) {
    const double largest = gradient.abs().max().item<double>();
    ASSERT_GT(largest, 0) << name;
    // A key's bias moves all scores of a query alike: its gradient is 0 but for rounding.
    const double scale = name.ends_with("key.bias") ? 1 : largest;
    EXPECT_LE((got.gradients.at(name) - gradient).abs().max().item<double>(), tolerance * scale) << name;
  }
}

class EveryFold : public testing::TestWithParam<TinyModel> {};

TEST_P(EveryFold, GivesTheGradientsOfTheUnfoldedModel) {
  const auto expected = run(GetParam(), torch::kDouble, {}, 0.5);
  for (const auto& [name, fold] : folds()) {
    SCOPED_TRACE(std::string(name) + ", mlp " + std::to_string(fold.mlp) + ", attention " +
                 std::to_string(fold.attention));
    Pass pass;
    pass.fold = fold;
    expect_equal(run(GetParam(), torch::kDouble, pass, 0.5), expected, 1e-9);
  }
}

TEST_P(EveryFold, WithDocumentsAndTheirOwnPositions) {
  Pass pass;
  pass.pieces = {{3, 10}, {6, 1, 6}};
  pass.positions = torch::stack({torch::cat({torch::arange(3), torch::arange(10)}),
                                 torch::cat({torch::arange(6), torch::arange(1), torch::arange(6)})});
  const auto expected = run(GetParam(), torch::kDouble, pass);
  pass.fold = {.recompute = Recompute::layer, .mlp = 5, .attention = 4};
  expect_equal(run(GetParam(), torch::kDouble, pass), expected, 1e-9);
}

TEST_P(EveryFold, InSinglePrecisionThroughTheKernels) {
  const auto expected = run(GetParam(), torch::kFloat, {});
  for (const int64_t chunk : {3, 12}) {
    Pass pass;
    pass.fold = {.recompute = Recompute::layer, .mlp = 4, .attention = chunk};
    expect_equal(run(GetParam(), torch::kFloat, pass), expected, 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EveryFold, testing::ValuesIn(kTinyModels),
                         [](const auto& instance) { return instance.param.name; });

const TinyModel kDeep{"deep", R"({"model_type":"llama","vocab_size":61,"hidden_size":64,"num_hidden_layers":6,
  "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":256})"};

/// Bytes that one forward and backward pass over `length` tokens holds above the model and its gradients.
int64_t activations(const memory::Fold& fold, int64_t length) {
  memory::tune_allocator();
  auto model = tiny_model(kDeep);
  model.make_trainable();
  Pass pass;
  pass.fold = fold;
  const auto ids = torch::zeros({1, length}, torch::kLong);
  const int64_t before = memory::current_bytes();
  memory::reset_peak();
  op::head_loss(model.hidden(ids, pass).flatten(0, 1), model.head_weight(), ids[0],
                {.chunk = 64, .denominator = double(length)})
      .backward();
  return memory::peak_bytes() - before;
}

TEST(FoldMemory, EachTechniqueHoldsLessThanTheOneBefore) {
  constexpr int64_t T = 4096, kElement = 4, D = 64, F = 256, L = 6;
  const int64_t none = activations({}, T), mlp = activations({.mlp = 128}, T),
                layer = activations({.recompute = Recompute::layer}, T),
                handed_over = activations({.recompute = Recompute::layer, .mlp = 128}, T),
                queries = activations({.recompute = Recompute::layer, .mlp = 128, .attention = 128}, T);
  EXPECT_LT(mlp, none - L * T * 3 * F * kElement + T * D * kElement * L);  // up, gate and their product are gone
  EXPECT_LT(layer, mlp);
  EXPECT_LT(handed_over, layer - T * 3 * F * kElement);
  EXPECT_LT(queries, handed_over);
  // Layer inputs, the gradient, keys, values and their gradients; the test itself holds the final hidden states and
  // their gradient. A tenth for chunks and small things.
  EXPECT_LT(queries, 1.1 * T * kElement * (L * D + D + D / 2 * 4 + 2 * D));
}

TEST(Fold, DoesNotTouchAGradientThatSomebodyElseHolds) {
  torch::manual_seed(3);
  auto weight = torch::randn({4, 4}, torch::kDouble).requires_grad_(true);
  const auto x = torch::randn({6, 4}, torch::kDouble).requires_grad_(true);
  const memory::Part part = [&](const auto& in, memory::Want) { return in[0] + torch::tanh(in[0].mm(weight)); };
  const auto y = memory::by_chunks(part, {x}, 4, weight);
  y.retain_grad();
  const auto incoming = torch::randn({6, 4}, torch::kDouble);
  const auto before = incoming.clone();
  y.backward(incoming);
  EXPECT_TRUE(torch::equal(incoming, before));
  EXPECT_TRUE(torch::equal(y.grad(), before));
  const auto plain = torch::autograd::grad({part({x}, memory::Want::values)}, {x}, {before});
  EXPECT_LE(test::relative_error(x.grad(), plain[0]), 1e-12);
}

TEST(Fold, GivesGradientsToAFirstLayerThatFollowsFrozenOnes) {
  torch::manual_seed(3);
  auto weight = torch::randn({4, 4}, torch::kDouble).requires_grad_(true);
  const auto x = torch::randn({6, 4}, torch::kDouble);
  const memory::Part part = [&](const auto& in, memory::Want) { return in[0] + torch::tanh(in[0].mm(weight)); };
  const auto y = memory::by_chunks(part, {x}, 4, weight);
  ASSERT_TRUE(y.requires_grad());
  y.sum().backward();
  EXPECT_TRUE(weight.grad().defined());
  EXPECT_FALSE(x.grad().defined());
  EXPECT_THROW(y.sum().backward(), c10::Error);  // nothing is kept for a second time
}

TEST(Fold, ByFiniteDifferences) {
  for (const int64_t chunk : {1, 3, 6, 7, 8}) {
    test::ExpectGradients(
        [&](const auto& in) {
          const torch::Tensor weight = in[2];
          const memory::Part part = [weight](const auto& x, memory::Want) {
            return x[0] + torch::tanh(x[1].mm(weight)) * x[1];
          };
          return memory::by_chunks(part, {in[0], in[1]}, chunk, weight);
        },
        {test::random_tensor({7, 3}, 1), test::random_tensor({7, 3}, 2), test::random_tensor({3, 3}, 3)});
  }
}

}  // namespace
}  // namespace accordion
