#include "model/transformer.h"

#include <gtest/gtest.h>

#include "model/tiny_models.h"
#include "op/head_loss.h"

namespace accordion {
namespace {

class EveryTransformer : public testing::TestWithParam<TinyModel> {};

double difference(const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST_P(EveryTransformer, HoldsTheParametersThatItsConfigurationCounts) {
  const auto model = tiny_model(GetParam());
  int64_t values = 0;
  for (const auto& item : model.weights()) values += item.second.numel();
  EXPECT_EQ(values, model.config().parameters());
  EXPECT_EQ(model.head_weight().size(0), model.config().vocabulary);
}

TEST_P(EveryTransformer, ATokenSeesNothingAfterIt) {
  const torch::NoGradGuard guard;
  const auto model = tiny_model(GetParam());
  const auto ids = torch::randint(0, 61, {2, 20}, torch::kLong);
  EXPECT_LT(difference(model.hidden(ids).slice(1, 0, 7), model.hidden(ids.slice(1, 0, 7))), 2e-5);
}

TEST_P(EveryTransformer, CacheGivesTheSameAsOnePass) {
  const torch::NoGradGuard guard;
  const auto model = tiny_model(GetParam());
  const auto ids = torch::randint(0, 61, {2, 20}, torch::kLong);
  const auto whole = model.hidden(ids);
  KeyValueCache cache;
  Pass pass;
  pass.cache = &cache;
  std::vector<torch::Tensor> parts;
  int64_t begin = 0;
  for (const int64_t length : {5, 1, 1, 6, 7}) {
    parts.push_back(model.hidden(ids.narrow(1, begin, length), pass));
    begin += length;
  }
  EXPECT_EQ(cache.length, 20);
  EXPECT_LT(difference(torch::cat(parts, 1), whole), 2e-5);
}

TEST_P(EveryTransformer, PiecesOfARowAreLikeRowsOfTheirOwn) {
  const torch::NoGradGuard guard;
  const auto model = tiny_model(GetParam());
  const auto ids = torch::randint(0, 61, {2, 20}, torch::kLong);
  Pass pass;
  pass.pieces = {{3, 17}, {8, 1, 11}};
  std::vector<torch::Tensor> positions, expected;
  for (size_t row = 0; row < pass.pieces.size(); ++row) {
    std::vector<torch::Tensor> row_positions, row_expected;
    int64_t begin = 0;
    for (const int64_t length : pass.pieces[row]) {
      row_positions.push_back(torch::arange(length));
      row_expected.push_back(model.hidden(ids.narrow(0, static_cast<int64_t>(row), 1).narrow(1, begin, length)));
      begin += length;
    }
    positions.push_back(torch::cat(row_positions));
    expected.push_back(torch::cat(row_expected, 1));
  }
  pass.positions = torch::stack(positions);
  EXPECT_LT(difference(model.hidden(ids, pass), torch::cat(expected)), 2e-5);
}

TEST_P(EveryTransformer, EveryWeightGetsAGradient) {
  auto model = tiny_model(GetParam());
  model.make_trainable();
  const auto ids = torch::randint(0, 61, {2, 20}, torch::kLong);
  const auto hidden = model.hidden(ids).flatten(0, 1);
  op::head_loss(hidden, model.head_weight(), torch::randint(0, 61, {40}, torch::kLong),
                {.chunk = 16, .denominator = 40})
      .backward();
  for (const auto& [name, weight] : model.weights()) {
    ASSERT_TRUE(weight.grad().defined()) << name;
    // A bias of all keys alike does not change a softmax.
    if (name.find("key.bias") == std::string::npos || model.config().position == PositionKind::rotary) {
      EXPECT_GT(weight.grad().abs().max().item<double>(), 0) << name;
    }
  }
}

TEST_P(EveryTransformer, GradientsAgreeWithFiniteDifferences) {
  auto model = tiny_model(GetParam(), torch::kDouble);
  model.make_trainable();
  const auto ids = torch::randint(0, 61, {1, 9}, torch::kLong), targets = torch::randint(0, 61, {9}, torch::kLong);
  const auto loss = [&] {
    return op::head_loss(model.hidden(ids).flatten(0, 1), model.head_weight(), targets, {.denominator = 9})
        .to(torch::kDouble);
  };
  loss().backward();
  const torch::NoGradGuard guard;
  for (auto& [name, weight] : model.weights()) {
    const auto direction = torch::randn_like(weight).detach();
    const auto slope = (weight.grad() * direction).sum().item<double>();
    const double step = 1e-3;
    weight.add_(direction, step);
    const double above = loss().item<double>();
    weight.sub_(direction, 2 * step);
    const double below = loss().item<double>();
    weight.add_(direction, step);
    EXPECT_NEAR((above - below) / (2 * step), slope, 2e-3 * std::max(1.0, std::abs(slope))) << name;
  }
}

TEST_P(EveryTransformer, ReachesFurtherUnlessItHasATable) {
  auto model = tiny_model(GetParam());
  const int64_t before = model.config().max_positions;
  model.reach(before - 1);
  EXPECT_EQ(model.config().max_positions, before);
  model.reach(before + 100);
  EXPECT_EQ(model.config().max_positions, model.config().position == PositionKind::learned ? before : before + 100);
}

TEST_P(EveryTransformer, InitialisationFollowsTheSeed) {
  const auto config = parse_model_config(nlohmann::json::parse(GetParam().json), "tiny");
  Transformer first(config), same(config), other(config), rounded(config, torch::kBFloat16);
  first.initialise(7);
  same.initialise(7);
  other.initialise(8);
  rounded.initialise(7);
  for (size_t i = 0; i < first.weights().size(); ++i) {
    const auto& [name, weight] = first.weights()[i];
    EXPECT_TRUE(torch::equal(weight, same.weights()[i].second)) << name;
    EXPECT_TRUE(torch::equal(weight.to(torch::kBFloat16), rounded.weights()[i].second)) << name;
    EXPECT_EQ(torch::equal(weight, other.weights()[i].second), weight.dim() == 1) << name;
  }
}

/// Deviations at the start: initializer_range; for GPT-2's projections into the residual stream over sqrt(2 layers)
/// (Radford et al. 2019). Norms begin as the identity, the padding row at zero.
TEST(Transformer, BeginsAsItsFamilyDoes) {
  for (const bool gpt2 : {true, false}) {
    const char* json = gpt2 ? R"({"model_type":"gpt2","vocab_size":211,"n_positions":64,"n_embd":96,"n_layer":8,
                                  "n_head":4,"initializer_range":0.03,"pad_token_id":5})"
                            : R"({"model_type":"llama","vocab_size":211,"hidden_size":96,"num_hidden_layers":8,
                                  "num_attention_heads":4,"intermediate_size":300,"initializer_range":0.03,
                                  "pad_token_id":5})";
    Transformer model(parse_model_config(nlohmann::json::parse(json), "config.json"), torch::kFloat);
    model.initialise(1);
    for (const auto& [name, weight] : model.weights()) {
      if (weight.dim() == 1) {
        EXPECT_TRUE(weight.eq(name.ends_with(".bias") ? 0 : 1).all().item<bool>()) << name;
        continue;
      }
      const bool narrow = gpt2 && (name.ends_with(".output.weight") || name.ends_with(".down.weight"));
      const double expected = 0.03 / (narrow ? 4 : 1);
      EXPECT_NEAR(weight.std().item<double>() / expected, 1, 0.05) << name;
    }
    const auto embedding = model.weights().front().second;
    EXPECT_EQ(embedding.abs().sum(1).eq(0).sum().item<int64_t>(), gpt2 ? 0 : 1);  // GPT-2's table has no padding row
    EXPECT_EQ(embedding[5].abs().sum().item<double>() == 0, !gpt2);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, EveryTransformer, testing::ValuesIn(kTinyModels),
                         [](const auto& tiny) { return std::string(tiny.param.name); });

}  // namespace
}  // namespace accordion
