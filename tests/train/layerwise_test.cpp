#include "train/layerwise.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "memory/allocator.h"
#include "model/tiny_models.h"
#include "op/gradients.h"
#include "train/step.h"

namespace accordion {
namespace {

Batch some_batch(int64_t rows, int64_t length, int64_t seed) {
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  for (int64_t i = 0; i < rows * length; ++i) {
    batch.inputs.push_back((i * 7 + seed) % 61);
    batch.targets.push_back((i * 13 + 5 * seed) % 61);
  }
  for (int64_t row = 0; row < rows; ++row) batch.pieces.push_back({length});
  return batch;
}

struct Run {
  std::vector<double> losses, norms;
  std::vector<torch::Tensor> weights, state;
};

Run train(const TinyModel& tiny, const Recipe& recipe, torch::Dtype dtype = torch::kFloat) {
  auto model = tiny_model(tiny, dtype);
  TrainingStep step(model, recipe);
  Run run;
  for (int64_t n = 1; n <= 3; ++n) {
    const auto result = step(some_batch(2, 9, n), 1e-2);
    run.losses.push_back(result.loss);
    run.norms.push_back(result.norm);
  }
  for (const auto& item : model.weights()) run.weights.push_back(item.second.detach());
  for (const auto& item : step.optimizer().state()) run.state.push_back(item.second.clone());
  return run;
}

void expect_same(const Run& got, const Run& expected, double tolerance) {
  ASSERT_EQ(got.state.size(), expected.state.size());
  for (size_t n = 0; n < expected.losses.size(); ++n) {
    EXPECT_NEAR(got.losses[n], expected.losses[n], tolerance * expected.losses[n]);
    EXPECT_NEAR(got.norms[n], expected.norms[n], (tolerance + 1e-12) * expected.norms[n]);
  }
  for (size_t i = 0; i < expected.weights.size(); ++i) {
    EXPECT_LE(test::relative_error(got.weights[i], expected.weights[i]), tolerance) << "weight " << i;
  }
  for (size_t i = 0; i < expected.state.size(); ++i) {
    EXPECT_LE(test::relative_error(got.state[i], expected.state[i]), tolerance) << "state " << i;
  }
}

class EveryLayerwise : public testing::TestWithParam<TinyModel> {};
INSTANTIATE_TEST_SUITE_P(Models, EveryLayerwise, testing::ValuesIn(kTinyModels),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(EveryLayerwise, UpdatesAsTheOptimizerDoesAfterwards) {
  Recipe plain;
  plain.optimizer.clip = 0;
  plain.batch.microbatch = {2};
  auto layerwise = plain;
  layerwise.memory.optimizer_in_backward = InBackward::on;
  for (const auto recompute : {Recompute::none, Recompute::layer}) {
    plain.memory.recompute = layerwise.memory.recompute = recompute;
    expect_same(train(GetParam(), layerwise), train(GetParam(), plain), 0);
    expect_same(train(GetParam(), layerwise, torch::kBFloat16), train(GetParam(), plain, torch::kBFloat16), 0);
  }
}

TEST_P(EveryLayerwise, TwoPassesClipAsTheOptimizerDoes) {
  Recipe plain;
  plain.optimizer.clip = 0.05;
  auto layerwise = plain;
  layerwise.memory.optimizer_in_backward = InBackward::two_pass;
  const auto expected = train(GetParam(), plain);
  EXPECT_GT(expected.norms[0], 0.1) << "nothing would be clipped";
  expect_same(train(GetParam(), layerwise), expected, 1e-6);
}

TEST_P(EveryLayerwise, LayerInputsAndStateOnDiskChangeNothing) {
  Recipe plain;
  plain.memory.recompute = Recompute::layer;
  plain.memory.mini_sequence.attention = {MiniSequence::Kind::tokens, 4};
  auto offloaded = plain;
  offloaded.memory.offload = {Offload::disk, std::filesystem::temp_directory_path().string(), true};
  expect_same(train(GetParam(), offloaded), train(GetParam(), plain), 0);
  plain.memory.mini_sequence.attention = offloaded.memory.mini_sequence.attention = {};
  expect_same(train(GetParam(), offloaded, torch::kBFloat16), train(GetParam(), plain, torch::kBFloat16), 0);
}

TEST(Layerwise, HoldsTheGradientsOfOneLayer) {
  const TinyModel tiny{"deep", R"({"model_type":"llama","vocab_size":61,"hidden_size":128,"num_hidden_layers":8,
    "num_attention_heads":4,"num_key_value_heads":4,"intermediate_size":512})"};
  memory::tune_allocator();
  const auto peak = [&](InBackward in_backward) {
    auto model = tiny_model(tiny);
    Recipe recipe;
    recipe.optimizer.clip = 0;
    recipe.memory.recompute = Recompute::layer;
    recipe.memory.optimizer_in_backward = in_backward;
    memory::reset_peak();
    TrainingStep step(model, recipe);  // what it makes beforehand counts too
    step(some_batch(1, 16, 1), 1e-3);
    return memory::peak_bytes() - memory::current_bytes();
  };
  const auto parameters = parse_model_config(nlohmann::json::parse(tiny.json), tiny.name).parameters();
  const int64_t layer = 4 * (parameters - 2 * 61 * 128) / 8;
  EXPECT_LT(peak(InBackward::on), layer + (1 << 19));
}

TEST(Layerwise, ALossThatIsNotFiniteUpdatesNothing) {
  auto model = tiny_model(kTinyModels[0]);
  Recipe recipe;
  recipe.optimizer.clip = 0;
  recipe.memory.optimizer_in_backward = InBackward::on;
  TrainingStep step(model, recipe);
  model.weights()[0].second.data().fill_(std::numeric_limits<float>::quiet_NaN());
  const auto before = model.weights()[3].second.detach().clone();
  EXPECT_FALSE(step(some_batch(1, 8, 1), 1e-2).finite());
  EXPECT_TRUE(torch::equal(model.weights()[3].second, before));
  EXPECT_EQ(step.optimizer().updates(), 0);
}

}  // namespace
}  // namespace accordion
