#include "eval/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "eval/score.h"
#include "model/tiny_models.h"

namespace accordion {
namespace {

std::vector<int64_t> continuation(const Transformer& model, const Sampling& sampling) {
  std::vector<int64_t> ids;
  generate(model, {5, 17, 3}, sampling, [&](int64_t id) {
    ids.push_back(id);
    return true;
  });
  return ids;
}

class Generate : public testing::TestWithParam<TinyModel> {};

TEST_P(Generate, WithAndWithoutCacheAlike) {
  const auto model = tiny_model(GetParam());
  for (const double temperature : {0.0, 1.0}) {
    Sampling sampling{.max_tokens = 30, .temperature = temperature, .top_p = 0.9, .seed = 3};
    const auto with = continuation(model, sampling);
    sampling.cache = false;
    EXPECT_EQ(with, continuation(model, sampling));
    EXPECT_EQ(with.size(), 30u);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Generate, testing::ValuesIn(kTinyModels),
                         [](const auto& tiny) { return std::string(tiny.param.name); });

TEST(GenerateOne, DrawsBySeedFromWhatIsAllowed) {
  const auto model = tiny_model(kTinyModels[0]);
  Sampling sampling{.max_tokens = 40, .temperature = 2, .seed = 1};
  const auto first = continuation(model, sampling);
  EXPECT_EQ(first, continuation(model, sampling));
  sampling.seed = 2;
  EXPECT_NE(first, continuation(model, sampling));
  sampling.vocabulary = 10;
  EXPECT_THAT(continuation(model, sampling), testing::Each(testing::Lt(10)));
  // So little of the probability that only the likeliest token is left.
  sampling = {.max_tokens = 20, .top_p = 1e-6};
  EXPECT_EQ(continuation(model, sampling), continuation(model, {.max_tokens = 20, .temperature = 0}));
}

TEST(GenerateOne, StopsWhenToldAndRefusesMoreThanTheTableHolds) {
  const auto model = tiny_model(kTinyModels[0]);
  int taken = 0;
  generate(model, {1}, {.max_tokens = 20}, [&](int64_t) { return ++taken < 4; });
  EXPECT_EQ(taken, 4);
  EXPECT_THROW(continuation(model, {.max_tokens = 62}), UserError);
  EXPECT_EQ(continuation(model, {.max_tokens = 61}).size(), 61u);
}

TEST(GenerateOne, FlattenedLogitsAreDrawnFromAlmostEvenly) {
  const auto different_ids = [](const char* cap) {
    const auto json = R"({"model_type":"gemma2","vocab_size":61,"hidden_size":24,"num_hidden_layers":1,
        "num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"intermediate_size":40,"initializer_range":2,
        "query_pre_attn_scalar":256,"final_logit_softcapping":)" +
                      std::string(cap) + "}";
    const auto ids =
        continuation(tiny_model({"gemma2", json.c_str()}), {.max_tokens = 60, .temperature = 1, .seed = 1});
    return std::set<int64_t>(ids.begin(), ids.end()).size();
  };
  EXPECT_LT(different_ids("null"), 25u);
  EXPECT_GT(different_ids("0.001"), 30u);
}

TEST(Score, IsTheLogarithmOfTheSoftmax) {
  const torch::NoGradGuard guard;
  const auto model = tiny_model(kTinyModels[5]);
  const std::vector<int64_t> ids{4, 9, 60, 0, 7};
  const auto result = score(model, ids);
  ASSERT_EQ(result.size(), ids.size());
  EXPECT_FALSE(result[0]);
  const auto hidden = model.hidden(torch::tensor(ids, torch::kLong).unsqueeze(0)).squeeze(0);
  const auto expected = torch::log_softmax(hidden.matmul(model.head_weight().t()), -1);
  for (int64_t t = 1; t < 5; ++t) {
    EXPECT_NEAR(*result[static_cast<size_t>(t)], expected[t - 1][ids[static_cast<size_t>(t)]].item<double>(), 1e-5);
  }
  EXPECT_EQ(score(model, {3}).size(), 1u);
  EXPECT_TRUE(score(model, {}).empty());
}

}  // namespace
}  // namespace accordion
