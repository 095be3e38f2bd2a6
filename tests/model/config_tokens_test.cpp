#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "model/config.h"

namespace accordion {
namespace {

using nlohmann::json;
using testing::ElementsAre;

ModelConfig preset(const std::string& name, const json& changes = {}) {
  const auto models = std::filesystem::path(ACCORDION_SOURCE_DIR) / "models";
  auto document = load_model_config({models / (name + ".json"), {}, models}).original;
  if (changes.is_object()) document.update(changes);
  return parse_model_config(document, "config.json");
}

TEST(ConfigTokens, ThoseOfTheTokenizerTakeThePlaceOfAPresets) {
  for (const char* name : {"gemma-2-9b", "gpt2-124m", "pythia-70m", "llama-3-8b", "qwen2-tiny", "gpt3-111m-alibi"}) {
    auto config = preset(name);
    take_tokens(config, -1, 256, -1, true);
    const auto written = model_config_json(config);
    EXPECT_EQ(written["eos_token_id"], 256) << name;
    EXPECT_TRUE(written["bos_token_id"].is_null()) << name;
    EXPECT_TRUE(written.value("pad_token_id", json()).is_null()) << name;
    const auto again = parse_model_config(written, "config.json");
    EXPECT_EQ(again.eos, 256) << name;
    EXPECT_EQ(again.bos, -1) << name;
    EXPECT_EQ(again.pad, -1) << name;
  }
  auto config = preset("gemma-2-9b");
  take_tokens(config, 2, 1, 3, true);
  EXPECT_EQ(parse_model_config(model_config_json(config), "config.json").pad, 3);
}

TEST(ConfigTokens, ThePaddingRowBelongsToWeightsThatAreThere) {
  auto config = preset("gemma-2-9b");
  take_tokens(config, -1, 256, -1, false);
  EXPECT_EQ(config.pad, 0);
  EXPECT_EQ(model_config_json(config)["pad_token_id"], 0);
  EXPECT_EQ(model_config_json(config)["eos_token_id"], 256);
}

TEST(ConfigTokens, AListOfEndsStaysWhereItHoldsTheEnd) {
  auto config = preset("llama-3-8b", {{"eos_token_id", {128001, 128009}}});
  EXPECT_THAT(end_ids(config, json::object()), testing::IsSupersetOf({128001, 128009}));
  EXPECT_THAT(end_ids(config, {{"eos_token_id", 128008}}), testing::Contains(128008));
  take_tokens(config, 128000, 128009, -1, false);
  EXPECT_EQ(model_config_json(config)["eos_token_id"], json({128001, 128009}));
  take_tokens(config, 128000, 5, -1, false);
  EXPECT_EQ(model_config_json(config)["eos_token_id"], 5);
  EXPECT_EQ(generation_config_json(config, {{"eos_token_id", {4, 5}}, {"top_p", 0.5}}),
            json({{"bos_token_id", 128000}, {"eos_token_id", {4, 5}}, {"top_p", 0.5}}));
  EXPECT_EQ(generation_config_json(config, json::object()), json({{"bos_token_id", 128000}, {"eos_token_id", 5}}));
  EXPECT_THROW(end_ids(config, {{"eos_token_id", "x"}}), UserError);
}

}  // namespace
}  // namespace accordion
