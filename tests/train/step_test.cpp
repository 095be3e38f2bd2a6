#include "train/step.h"

#include <gtest/gtest.h>

#include <limits>

#include "model/tiny_models.h"
#include "op/gradients.h"

namespace accordion {
namespace {

Batch some_batch(int64_t rows, int64_t length) {
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  for (int64_t i = 0; i < rows * length; ++i) {
    batch.inputs.push_back(i * 7 % 61);
    batch.targets.push_back((i * 13 + 5) % 61);
  }
  for (int64_t row = 0; row < rows; ++row) batch.pieces.push_back({length});
  return batch;
}

StepForm form_of(const LossRecipe& loss, MiniSequence head, int64_t microbatch) {
  return {.pass = {}, .microbatch = {microbatch}, .head = head, .loss = loss};
}

struct Result {
  double loss = 0;
  std::vector<torch::Tensor> gradients;
};

Result run(const TinyModel& tiny, const StepForm& form) {
  auto model = tiny_model(tiny);
  model.make_trainable();
  Result result{forward_backward(model, some_batch(4, 9), form), {}};
  for (const auto& item : model.weights()) result.gradients.push_back(item.second.grad());
  return result;
}

class EveryStep : public testing::TestWithParam<TinyModel> {};
INSTANTIATE_TEST_SUITE_P(Models, EveryStep, testing::ValuesIn(kTinyModels),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(EveryStep, IsTheSameHoweverItIsCut) {
  for (const auto& loss : {LossRecipe{}, LossRecipe{0.01, 0.1}}) {
    const auto whole = run(GetParam(), form_of(loss, {MiniSequence::Kind::off, 0}, 4));
    for (const auto head : {MiniSequence{MiniSequence::Kind::automatic, 0}, MiniSequence{MiniSequence::Kind::tokens, 7},
                            MiniSequence{MiniSequence::Kind::count, 3}}) {
      for (const int64_t microbatch : {1, 3, 4}) {
        const auto got = run(GetParam(), form_of(loss, head, microbatch));
        EXPECT_NEAR(got.loss, whole.loss, 2e-6 * whole.loss);
        for (size_t i = 0; i < whole.gradients.size(); ++i) {
          const double error = test::rms_error(got.gradients[i], whole.gradients[i]);
          EXPECT_LE(error, 1e-6 + 1e-4 * whole.gradients[i].square().mean().sqrt().item<double>()) << "weight " << i;
        }
      }
    }
  }
}

TEST(StepForm, TakesTheRecipesLoss) {
  Recipe recipe;
  recipe.loss = {0.01, 0.1};
  const auto form = step_form(recipe, torch::kCPU);
  EXPECT_EQ(form.loss.z_loss, 0.01);
  EXPECT_EQ(form.loss.label_smoothing, 0.1);
  const auto pure = form_of({}, form.head, 4), more = form_of(form.loss, form.head, 4);
  EXPECT_GT(run(kTinyModels[0], more).loss, run(kTinyModels[0], pure).loss);
}

/// A step whose loss or gradient is not finite is as if it had not been.
TEST(TrainingStep, ASkippedStepLeavesNothing) {
  const auto trained = [](bool with_a_bad_step) {
    auto model = tiny_model(kTinyModels[5]);
    TrainingStep step(model, Recipe());
    step(some_batch(2, 9), 1e-2);
    if (with_a_bad_step) {
      auto& bias = model.weights().back().second;
      const auto kept = bias.detach().clone();
      bias.data().view(-1)[0] = std::numeric_limits<float>::infinity();
      EXPECT_FALSE(step(some_batch(3, 9), 1e-2).finite());
      bias.data().copy_(kept);
    }
    step(some_batch(1, 9), 1e-2);
    std::vector<torch::Tensor> weights;
    for (const auto& item : model.weights()) weights.push_back(item.second.detach());
    return weights;
  };
  const auto without = trained(false), with = trained(true);
  for (size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(torch::equal(with[i], without[i])) << "weight " << i;
}

}  // namespace
}  // namespace accordion
