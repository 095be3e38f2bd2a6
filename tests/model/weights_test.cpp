#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

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
  void put(const NamedTensors& tensors) {
    write_safetensors(folder_ / "model.safetensors", tensors, {{"format", "pt"}});
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
  shards[0].emplace_back("h.0.attn.bias", torch::ones({1, 1, 4, 4}, torch::kUInt8));
  shards[0].emplace_back("layers.0.attention.rotary_emb.inv_freq", torch::ones({4}));
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
