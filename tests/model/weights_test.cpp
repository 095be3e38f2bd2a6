#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "model/safetensors.h"
#include "model/tiny_models.h"

namespace accordion {
namespace {

using testing::HasSubstr;

class WeightsOnDisk : public testing::TestWithParam<TinyModel> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("weights_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  NamedTensors tensors() const { return read_safetensors(folder_ / "model.safetensors"); }
  void put(const NamedTensors& tensors, std::map<std::string, std::string> metadata = {}) {
    metadata["format"] = "pt";
    write_safetensors(folder_ / "model.safetensors", tensors, metadata);
  }
  std::string message() const {
    try {
      open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1);
    } catch (const UserError& error) {
      return error.what();
    }
    return "opened";
  }
  void expect_same(const Transformer& model, const Transformer& other) const {
    for (size_t i = 0; i < model.weights().size(); ++i) {
      EXPECT_TRUE(torch::equal(model.weights()[i].second, other.weights()[i].second)) << model.weights()[i].first;
    }
  }
  std::filesystem::path folder_;
};

TEST_P(WeightsOnDisk, ComeBackAsTheyWere) {
  const auto model = tiny_model(GetParam());
  save_model(model, folder_);
  expect_same(model, open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1));
}

TEST_P(WeightsOnDisk, ComeBackFromShardsWithoutPrefixAndWithOldBuffers) {
  const auto model = tiny_model(GetParam());
  save_model(model, folder_);
  nlohmann::json map;
  std::array<NamedTensors, 2> shards;
  int64_t number = 0;
  for (auto [name, tensor] : tensors()) {
    for (const std::string prefix : {"transformer.", "gpt_neox.", "model."}) {
      if (name.rfind(prefix, 0) == 0) name = name.substr(prefix.size());
    }
    shards[static_cast<size_t>(++number % 2)].emplace_back(name, tensor);
  }
  switch (model.config().family) {
    case Family::gpt2:
      shards[0].emplace_back("h.0.attn.bias", torch::ones({1, 1, 4, 4}, torch::kUInt8));
      break;
    case Family::gpt_neox:
      shards[0].emplace_back("layers.0.attention.masked_bias", torch::ones({}));
      shards[1].emplace_back("layers.0.attention.rotary_emb.inv_freq", torch::ones({4}));
      break;
    case Family::mpt:
      break;
    default:
      shards[0].emplace_back("layers.0.self_attn.rotary_emb.inv_freq", torch::ones({4}));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    const auto file = "model-" + std::to_string(i) + ".safetensors";
    write_safetensors(folder_ / file, shards[i]);
    for (const auto& item : shards[i]) map[item.first] = file;
  }
  std::ofstream(folder_ / "model.safetensors.index.json") << nlohmann::json{{"weight_map", map}};
  std::filesystem::remove(folder_ / "model.safetensors");
  expect_same(model, open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1));
}

TEST_P(WeightsOnDisk, InBf16AreRounded) {
  auto model = tiny_model(GetParam(), torch::kBFloat16);
  save_model(model, folder_);
  for (const auto& [name, tensor] : tensors()) EXPECT_EQ(tensor.scalar_type(), torch::kBFloat16) << name;
  expect_same(model, open_model(find_model(folder_), torch::kBFloat16, torch::kCPU, 1));
}

TEST_P(WeightsOnDisk, WhatDoesNotFitIsNamed) {
  save_model(tiny_model(GetParam()), folder_);
  const auto all = tensors();
  auto changed = all;
  changed.emplace_back("surplus.weight", torch::ones({2}));
  put(changed);
  EXPECT_THAT(message(), HasSubstr("tensor surplus.weight is unknown"));
  changed = all;
  changed[1].second = torch::ones({3, 3, 3});
  put(changed);
  EXPECT_THAT(message(), HasSubstr("tensor " + all[1].first + " has shape [3, 3, 3]"));
  changed = all;
  changed.erase(changed.begin() + 1);
  put(changed);
  EXPECT_THAT(message(), HasSubstr("tensor " + all[1].first + " is missing"));
}

/// The same tensors, one of them under another name or gone (to = "").
NamedTensors renamed(NamedTensors tensors, const std::string& from, const std::string& to) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& item) { return item.first == from; });
  EXPECT_NE(found, tensors.end()) << from;
  if (to.empty()) {
    tensors.erase(found);
  } else {
    found->first = to;
  }
  return tensors;
}

TEST_P(WeightsOnDisk, ATiedHeadMayStandUnderEitherName) {
  const auto model = tiny_model(GetParam());
  save_model(model, folder_);
  const auto all = tensors();
  const auto embedding = all.front().first;
  for (const std::string head : {"lm_head.weight", "embed_out.weight"}) {
    if (!model.config().tied_head || (head == "embed_out.weight" && model.config().family != Family::gpt_neox))
      continue;
    const auto open = [&] { return open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1); };
    put(renamed(all, embedding, head));
    expect_same(model, open());
    put(renamed(all, embedding, head), {{embedding, head}});  // as safetensors' save_model says it
    expect_same(model, open());
    auto both = all;
    both.emplace_back(head, all.front().second.to(torch::kDouble));
    put(both);
    expect_same(model, open());
    both.back().second = both.back().second + 1e-3;
    put(both);
    EXPECT_THAT(message(), HasSubstr("tensors " + embedding + " and " + head + " differ"));
    both.back().second = torch::ones({2, 2});
    put(both);
    EXPECT_THAT(message(), HasSubstr("tensor " + head + " has shape [2, 2]"));
  }
}

TEST_P(WeightsOnDisk, ANameInTheMetadataStandsForTheTensorThatWasKept) {
  const auto model = tiny_model(GetParam());
  save_model(model, folder_);
  auto all = tensors();
  const auto is_vector = [](const auto& item) { return item.second.dim() == 1; };
  const auto first = std::find_if(all.begin(), all.end(), is_vector);              // a norm of the first layer
  const auto last = std::find_if(all.rbegin(), all.rend(), is_vector).base() - 1;  // the last norm
  ASSERT_LT(first, last);
  first->second = last->second.clone();
  put(all);
  const auto expected = open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1);
  const auto gone = first->first, stays = last->first;
  put(renamed(all, gone, ""), {{gone, stays}});
  expect_same(expected, open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1));
  put(renamed(all, gone, ""), {{gone, "nothing"}});
  EXPECT_THAT(message(), HasSubstr("tensor " + gone + " is missing"));
}

TEST_P(WeightsOnDisk, AnUntiedHeadInTheMetadataIsTheEmbedding) {
  const auto model = tiny_model(GetParam());
  if (model.config().tied_head) GTEST_SKIP() << "tied";
  save_model(model, folder_);
  const auto all = tensors();
  const auto embedding = all.front().first, head = all.back().first;
  put(renamed(all, embedding, ""), {{embedding, head}});
  const auto opened = open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1);
  EXPECT_TRUE(torch::equal(opened.weights().front().second, model.head_weight()));
  EXPECT_TRUE(torch::equal(opened.head_weight(), model.head_weight()));
}

TEST_P(WeightsOnDisk, BuffersOfOtherFamiliesAreUnknown) {
  const auto model = tiny_model(GetParam());
  save_model(model, folder_);
  const bool gpt2 = model.config().family == Family::gpt2;
  const std::string buffer = gpt2 ? "transformer.h.0.attn.rotary_emb.inv_freq" : "model.layers.0.attn.bias";
  auto all = tensors();
  all.emplace_back(buffer, torch::ones({4}));
  put(all);
  EXPECT_THAT(message(), HasSubstr("tensor " + buffer + " is unknown"));
}

TEST_F(WeightsOnDisk, OneFileComesBeforeAnIndexAndNoTensorStandsInTwo) {
  const auto model = tiny_model(kTinyModels[0]);
  save_model(model, folder_);
  const auto all = tensors();
  auto others = all;
  for (auto& item : others) item.second = item.second + 1;
  nlohmann::json map;
  for (const auto& item : others) map[item.first] = "shard.safetensors";
  write_safetensors(folder_ / "shard.safetensors", others);
  std::ofstream(folder_ / "model.safetensors.index.json") << nlohmann::json{{"weight_map", map}};
  testing::internal::CaptureStderr();
  expect_same(model, open_model(find_model(folder_), torch::kFloat, torch::kCPU, 1));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("model.safetensors.index.json: not read"));
  std::filesystem::rename(folder_ / "model.safetensors", folder_ / "other.safetensors");
  map[all[0].first] = "other.safetensors";
  std::ofstream(folder_ / "model.safetensors.index.json") << nlohmann::json{{"weight_map", map}};
  EXPECT_THAT(message(), HasSubstr("and in another file"));
}

TEST_F(WeightsOnDisk, AModelWithoutPositionsInsistsOnZeros) {
  const auto& tiny = kTinyModels[2];
  save_model(tiny_model(tiny), folder_);
  auto all = tensors();
  const auto table =
      std::find_if(all.begin(), all.end(), [](const auto& item) { return item.first == "transformer.wpe.weight"; });
  ASSERT_NE(table, all.end());
  EXPECT_EQ(table->second.count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(table->second.sizes().vec(), (std::vector<int64_t>{64, 24}));
  table->second[0][0] = 1;
  put(all);
  EXPECT_THAT(message(), HasSubstr("is not zero"));
}

INSTANTIATE_TEST_SUITE_P(Families, WeightsOnDisk, testing::ValuesIn(kTinyModels),
                         [](const auto& tiny) { return std::string(tiny.param.name); });

}  // namespace
}  // namespace accordion
