#include "train/optimizer.h"

#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include "base/error.h"
#include "op/gradient.h"
#include "op/gradients.h"

namespace accordion {
namespace {

using test::random_tensor;
using torch::Tensor;

NamedTensors some_weights() {
  NamedTensors weights{{"matrix", random_tensor({5, 7}, 1, torch::kFloat)},
                       {"vector", random_tensor({7}, 2, torch::kFloat)}};
  for (auto& [name, weight] : weights) op::make_parameter(weight, true);
  return weights;
}

/// Where a norm is as small as what is added to it, that counts too.
TEST(Optimizer, ClipsAndDecaysAsTorch) {
  for (const auto& [clip, size] : {std::pair{1.0, 1.0}, {0.3, 1.0}, {0.0, 1.0}, {1e-6, 1e-7}, {1e-7, 1e-7}}) {
    SCOPED_TRACE(std::to_string(clip * 1e6) + "e-6, gradients of " + std::to_string(size * 1e6) + "e-6");
    auto weights = some_weights();
    OptimizerRecipe recipe;
    recipe.clip = clip;
    recipe.epsilon = 1e-8;
    Optimizer optimizer(weights, recipe);
    std::vector<Tensor> theirs;
    for (const auto& [name, weight] : weights) theirs.push_back(weight.detach().clone().requires_grad_(true));
    const auto options = [&](double decay) {
      return torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).eps(1e-8).weight_decay(decay);
    };
    torch::optim::AdamW matrices({theirs[0]}, options(0.1)), vectors({theirs[1]}, options(0));
    for (uint64_t step = 0; step < 3; ++step) {
      for (size_t i = 0; i < theirs.size(); ++i) {
        const Tensor gradient = random_tensor(theirs[i].sizes(), 10 * step + i, torch::kFloat) * size;
        weights[i].second.mutable_grad().copy_(gradient);
        theirs[i].mutable_grad() = gradient;
      }
      if (clip > 0) torch::nn::utils::clip_grad_norm_(theirs, clip);
      matrices.step();
      vectors.step();
      optimizer.step(1e-2, optimizer.gradient_norm());
      for (size_t i = 0; i < theirs.size(); ++i) {
        EXPECT_LE(test::relative_error(weights[i].second.detach(), theirs[i].detach()), 1e-6) << weights[i].first;
        EXPECT_EQ(weights[i].second.grad().abs().sum().item<double>(), 0) << "the gradients begin anew";
      }
    }
  }
}

TEST(Optimizer, RefusesTheStateOfAnotherModel) {
  auto weights = some_weights();
  Optimizer optimizer(weights, {});
  const auto state = optimizer.state();
  optimizer.restore(state);
  for (const char* what : {"fewer", "another order", "another shape"}) {
    auto other = state;
    if (what == std::string("fewer")) other.pop_back();
    if (what == std::string("another order")) std::swap(other[0].first, other[2].first);
    if (what == std::string("another shape")) other[0].second = torch::zeros({7, 5});
    EXPECT_THROW(optimizer.restore(other), UserError) << what;
  }
}

}  // namespace
}  // namespace accordion
