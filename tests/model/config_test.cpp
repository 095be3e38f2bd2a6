#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"

namespace accordion {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path kModels = std::filesystem::path(ACCORDION_SOURCE_DIR) / "models";

ModelConfig preset(const std::string& name) { return load_model_config({kModels / (name + ".json"), {}, kModels}); }

std::string message_of(const json& document) {
  try {
    parse_model_config(document, "config.json");
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

json changed(const std::string& name, const json& changes) {
  auto document = preset(name).original;
  for (const auto& [key, value] : changes.items()) {
    document[key] = value;
  }
  return document;
}

TEST(Config, ParameterCountsArePublishedOnes) {
  EXPECT_EQ(preset("pythia-14m").parameters(), 14'067'712);
  EXPECT_EQ(preset("pythia-70m").parameters(), 70'426'624);
  EXPECT_EQ(preset("pythia-160m").parameters(), 162'322'944);
  EXPECT_EQ(preset("pythia-410m").parameters(), 405'334'016);
  EXPECT_EQ(preset("gpt2-124m").parameters(), 124'439'808);
  EXPECT_EQ(preset("llama-2-7b").parameters(), 6'738'415'616);
  EXPECT_EQ(preset("llama-3-8b").parameters(), 8'030'261'248);
  EXPECT_EQ(preset("mistral-7b").parameters(), 7'241'732'096);
  EXPECT_EQ(preset("qwen2-7b").parameters(), 7'615'616'512);
  EXPECT_EQ(preset("gemma-2-9b").parameters(), 9'241'705'984);
}

TEST(Config, PositionsMakeTheOnlyDifferenceBetweenTheGpt3Presets) {
  const auto learned = preset("gpt3-125m-learned"), none = preset("gpt3-125m-none"),
             rotary = preset("gpt3-125m-rotary");
  EXPECT_EQ(learned.position, PositionKind::learned);
  EXPECT_EQ(none.position, PositionKind::none);
  EXPECT_EQ(rotary.position, PositionKind::rotary);
  EXPECT_EQ(learned.parameters(), none.parameters() + 2048 * 768);
  EXPECT_EQ(rotary.parameters(), none.parameters());
  EXPECT_EQ(rotary.layer_matmul_parameters(), 12 * 12 * 768 * 768);
  EXPECT_FALSE(rotary.parallel_residual);
  EXPECT_EQ(preset("gpt3-111m-alibi").position, PositionKind::alibi);
  EXPECT_EQ(preset("gpt3-111m-alibi").max_positions, 8192);
}

TEST(Config, EveryPresetComesBackTheSame) {
  int presets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kModels)) {
    const auto first = preset(entry.path().stem().string());
    const auto written = model_config_json(first);
    const auto second = parse_model_config(written, "written");
    EXPECT_EQ(model_config_json(second), written) << entry.path();
    EXPECT_EQ(second.parameters(), first.parameters()) << entry.path();
    EXPECT_EQ(second.position, first.position) << entry.path();
    EXPECT_EQ(second.mlp, first.mlp) << entry.path();
    EXPECT_EQ(second.tied_head, first.tied_head) << entry.path();
    EXPECT_EQ(second.windows, first.windows) << entry.path();
    EXPECT_EQ(second.attention_scale, first.attention_scale) << entry.path();
    EXPECT_EQ(second.attention_soft_cap, first.attention_soft_cap) << entry.path();
    EXPECT_EQ(second.final_soft_cap, first.final_soft_cap) << entry.path();
    ++presets;
  }
  EXPECT_GE(presets, 12);
}

TEST(Config, RotarySettingsInBothSpellings) {
  auto older = changed("pythia-70m", {{"rotary_pct", 0.5}, {"rotary_emb_base", 20000}});
  auto newer = older;
  newer.erase("rotary_pct");
  newer.erase("rotary_emb_base");
  newer["rope_parameters"] = {{"rope_theta", 20000.0}, {"partial_rotary_factor", 0.5}, {"rope_type", "default"}};
  for (const auto& document : {older, newer}) {
    const auto config = parse_model_config(document, "config.json");
    EXPECT_EQ(config.rotary_base, 20000);
    EXPECT_EQ(config.rotary_fraction, 0.5);
    const auto written = model_config_json(config);
    EXPECT_EQ(written["rotary_pct"], 0.5);
    EXPECT_FALSE(written.contains("rope_parameters"));
  }
  newer["rotary_pct"] = 0.25;
  EXPECT_THAT(message_of(newer), HasSubstr("rotary_pct is set twice"));
}

TEST(Config, Llama3ScalingInBothSpellings) {
  json scaling{{"rope_type", "llama3"},
               {"factor", 8.0},
               {"low_freq_factor", 1.0},
               {"high_freq_factor", 4.0},
               {"original_max_position_embeddings", 8192}};
  const auto older = parse_model_config(changed("llama-3-8b", {{"rope_scaling", scaling}}), "config.json");
  EXPECT_EQ(older.rotary_scaling.kind, ModelConfig::RotaryScaling::Kind::llama3);
  EXPECT_EQ(older.rotary_scaling.factor, 8);
  EXPECT_EQ(model_config_json(older)["rope_scaling"], scaling);
  scaling["rope_theta"] = 500000.0;
  const auto newer = parse_model_config(changed("llama-3-8b", {{"rope_parameters", scaling}}), "config.json");
  EXPECT_EQ(model_config_json(newer), model_config_json(older));
}

struct Spelling {
  const char* model;
  json changes;
  double base, fraction, factor;
};

TEST(Config, RotarySettingsStandInManyPlaces) {
  const json theta{{"rope_theta", 500.0}},
      types{"full_attention", "full_attention", "full_attention", "full_attention"};
  const json linear{{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 500.0}};
  const std::vector<Spelling> spellings{
      {"qwen2-tiny", {{"rope_theta", 500.0}}, 500, 1, 1},
      {"qwen2-tiny", {{"rope_theta", 500}, {"rope_scaling", nullptr}}, 500, 1, 1},
      {"qwen2-tiny", {{"rope_scaling", theta}}, 500, 1, 1},
      {"qwen2-tiny", {{"rope_parameters", theta}}, 500, 1, 1},
      {"qwen2-tiny", {{"rope_scaling", linear}}, 500, 1, 2},
      {"qwen2-tiny", {{"rope_parameters", linear}, {"rope_scaling", linear}}, 500, 1, 2},
      {"qwen2-tiny", {{"rope_theta", 500.0}, {"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}, 500, 1, 2},
      {"qwen2-tiny", {{"layer_types", types}, {"rope_parameters", {{"full_attention", linear}}}}, 500, 1, 2},
      {"pythia-70m", {{"rotary_pct", 0.5}, {"rotary_emb_base", 500}}, 500, 0.5, 1},
      {"pythia-70m",
       {{"rotary_pct", 0.5}, {"rotary_emb_base", 500}, {"partial_rotary_factor", 0.5}, {"rope_theta", 500}},
       500,
       0.5,
       1},
      {"pythia-70m", {{"rope_parameters", {{"rope_theta", 500}, {"partial_rotary_factor", 0.5}}}}, 500, 0.5, 1},
      {"pythia-70m", {{"rope_parameters", theta}}, 500, 0.25, 1},
  };
  for (const auto& spelling : spellings) {
    auto document = preset(spelling.model).original;
    for (const char* key : {"rope_theta", "rotary_emb_base", "rotary_pct"}) document.erase(key);
    document.update(spelling.changes);
    const auto config = parse_model_config(document, "config.json");
    EXPECT_EQ(config.rotary_base, spelling.base) << spelling.changes;
    EXPECT_EQ(config.rotary_fraction, spelling.fraction) << spelling.changes;
    EXPECT_EQ(config.rotary_scaling.factor, spelling.factor) << spelling.changes;
    const auto again = parse_model_config(model_config_json(config), "written");
    EXPECT_EQ(again.rotary_base, spelling.base) << spelling.changes;
    EXPECT_EQ(again.rotary_fraction, spelling.fraction) << spelling.changes;
    EXPECT_EQ(again.rotary_scaling.factor, spelling.factor) << spelling.changes;
  }
}

TEST(Config, NotesWhatIsLeftOutOfAccount) {
  const auto notes_of = [](const std::string& model, const json& changes) {
    static int number = 0;  // each note is told once for a file
    testing::internal::CaptureStderr();
    parse_model_config(changed(model, changes), "config-" + std::to_string(++number) + ".json");
    return testing::internal::GetCapturedStderr();
  };
  for (const auto& entry : std::filesystem::directory_iterator(kModels))
    EXPECT_EQ(notes_of(entry.path().stem().string(), {}), "") << entry.path();
  EXPECT_THAT(notes_of("llama-2-7b", {{"use_qk_norm", true}, {"temperature", 0.5}, {"sparsity", nullptr}}),
              HasSubstr(".json: sparsity, use_qk_norm: not known here and left out of account\n"));
  EXPECT_THAT(
      notes_of("gpt3-111m-alibi", {{"attn_config", {{"alibi", true}, {"kv_n_heads", 2}, {"attn_impl", "torch"}}}}),
      HasSubstr(".json: attn_config.kv_n_heads: not known"));
  EXPECT_THAT(notes_of("llama-2-7b", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 2.0}, {"beta_fast", 1}}}}),
              HasSubstr("rope_scaling.beta_fast has no meaning with rope_type 'linear'"));
  EXPECT_THAT(notes_of("gpt2-124m", {{"n_ctx", 2048}}), HasSubstr("n_ctx is not read by transformers"));
}

TEST(Config, ValuesThatVersionsDisagreeOnAreRefused) {
  const json default_type{{"rope_type", "default"}, {"rope_theta", 500.0}};
  const std::vector<std::pair<std::string, std::pair<json, std::string>>> cases{
      {"llama-2-7b", {{{"rope_scaling", {{"type", "linear"}, {"rope_type", "default"}, {"factor", 2}}}}, "differ"}},
      {"llama-2-7b", {{{"rope_scaling", {{"factor", 2.0}}}}, "rope_scaling.rope_type is missing beside factor"}},
      {"llama-2-7b", {{{"rope_scaling", {{"type", "linear"}, {"factr", 2.0}, {"factor", 1}}}}, "factr is unknown"}},
      {"llama-2-7b", {{{"rope_scaling", default_type}}, "rope_theta is set twice"}},
      {"llama-2-7b",
       {{{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}, {"rope_parameters", {{"rope_theta", 10000}}}},
        "rope_parameters holds rotary settings that differ"}},
      {"llama-2-7b", {{{"rope_parameters", {{"full_attention", default_type}}}}, "layer_types does not name it"}},
      {"qwen2-tiny",
       {{{"layer_types", {"full_attention", "sliding_attention", "full_attention", "full_attention"}},
         {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}},
        "rope_parameters.sliding_attention is missing"}},
      {"qwen2-tiny",
       {{{"layer_types", {"full_attention", "sliding_attention", "full_attention", "full_attention"}},
         {"rope_parameters",
          {{"full_attention", {{"rope_type", "default"}}},
           {"sliding_attention", {{"rope_type", "linear"}, {"factor", 2}}}}}},
        "rope_parameters holds rotary settings that differ"}},
      {"pythia-70m", {{{"rope_theta", 500}}, "rope_theta is not read by transformers in gpt_neox"}},
      {"pythia-70m", {{{"partial_rotary_factor", 1}}, "partial_rotary_factor is not read by transformers"}},
      {"gpt2-124m", {{{"hidden_size", 512}}, "hidden_size and n_embd are two names of one setting"}},
      {"gpt2-124m", {{{"tie_word_embeddings", nullptr}}, "tie_word_embeddings is null"}},
      {"gemma-2-tiny", {{{"num_key_value_heads", nullptr}}, "num_key_value_heads is missing"}},
      {"gemma-2-tiny", {{{"query_pre_attn_scalar", nullptr}}, "query_pre_attn_scalar is missing"}},
      {"gemma-2-tiny", {{{"sliding_window", nullptr}}, "sliding_window is null"}},
      {"gemma-2-tiny", {{{"head_dim", nullptr}}, "head_dim is null"}},
      {"llama-2-7b", {{{"pad_token_id", 32000}}, "pad_token_id 32000 is outside"}},
      {"llama-2-7b", {{{"pad_token_id", -32001}}, "pad_token_id -32001 is outside"}},
      {"llama-2-7b", {{{"per_layer_config", json::object()}}, "per_layer_config {} is not supported"}},
      {"llama-2-7b", {{{"transformers_weights", "other.safetensors"}}, "transformers_weights"}},
  };
  for (const auto& [model, test] : cases) EXPECT_THAT(message_of(changed(model, test.first)), HasSubstr(test.second));
}

TEST(Config, DefaultsAreThoseOfTheFamily) {
  const auto without = [](const std::string& name, const std::string& key) {
    auto document = preset(name).original;
    document.erase(key);
    return parse_model_config(document, "config.json");
  };
  const auto null = [](const std::string& name, const char* key) {
    return parse_model_config(changed(name, {{key, nullptr}}), "config.json");
  };
  EXPECT_EQ(without("mistral-tiny", "num_key_value_heads").kv_heads, 8);
  EXPECT_EQ(null("mistral-7b", "num_key_value_heads").kv_heads, 32);
  EXPECT_EQ(null("qwen2-tiny", "num_key_value_heads").kv_heads, 8);
  EXPECT_EQ(null("llama-2-7b", "num_key_value_heads").kv_heads, 32);
  EXPECT_EQ(null("llama-2-7b", "head_dim").head_width, 128);
  EXPECT_EQ(without("gemma-2-9b", "pad_token_id").pad, 0);
  EXPECT_EQ(null("gemma-2-9b", "pad_token_id").pad, -1);
  EXPECT_EQ(null("llama-2-7b", "pad_token_id").pad, -1);
  EXPECT_EQ(without("gpt2-124m", "n_positions").max_positions, 1024);
  const auto pad = [](const std::string& name, int64_t id) {
    return parse_model_config(changed(name, {{"pad_token_id", id}}), "config.json").pad;
  };
  EXPECT_EQ(pad("llama-2-7b", 0), 0);
  EXPECT_EQ(pad("llama-2-7b", -1), 31999);  // as PyTorch counts
  EXPECT_EQ(pad("gpt2-124m", 3), -1);       // transformers gives these families' embeddings no padding row
  EXPECT_EQ(pad("pythia-70m", 3), -1);
  EXPECT_EQ(pad("gpt3-111m-alibi", 3), -1);
}

TEST(Config, CommonNamesOfSizes) {
  auto document = preset("gpt2-124m").original;
  for (const auto& [own, common] : std::map<std::string, std::string>{{"n_layer", "num_hidden_layers"},
                                                                      {"n_embd", "hidden_size"},
                                                                      {"n_head", "num_attention_heads"},
                                                                      {"n_positions", "max_position_embeddings"}}) {
    document[common] = document[own];
    document.erase(own);
  }
  EXPECT_EQ(parse_model_config(document, "config.json").parameters(), 124'439'808);
}

std::vector<int64_t> windows_of(const std::string& name, const json& changes) {
  const auto config = parse_model_config(changed(name, changes), "config.json");
  const auto again = parse_model_config(model_config_json(config), "written");
  EXPECT_EQ(again.windows, config.windows) << changes;
  return config.windows;
}

TEST(Config, WindowsByLayer) {
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows_of("mistral-tiny", {}), (Windows{4096, 4096, 4096, 4096}));
  EXPECT_EQ(windows_of("mistral-tiny", {{"sliding_window", nullptr}}), Windows());
  EXPECT_EQ(windows_of("qwen2-tiny", {}), Windows());
  const json slides{{"use_sliding_window", true}, {"sliding_window", 64}, {"max_window_layers", 3}};
  EXPECT_EQ(windows_of("qwen2-tiny", slides), (Windows{0, 0, 0, 64}));
  const json all_slide{{"use_sliding_window", true}, {"sliding_window", 64}, {"max_window_layers", 0}};
  EXPECT_EQ(windows_of("qwen2-tiny", all_slide), (Windows{64, 64, 64, 64}));
  EXPECT_EQ(windows_of("gemma-2-tiny", {{"sliding_window", 16}}), (Windows{16, 0, 16, 0}));
  const char *full = "full_attention", *sliding = "sliding_attention";
  EXPECT_EQ(windows_of("gemma-2-tiny", {{"sliding_window", 16}, {"layer_types", {full, sliding, full, full}}}),
            (Windows{0, 16, 0, 0}));
  EXPECT_EQ(windows_of("gemma-2-tiny", {{"layer_types", {full, full, full, full}}}), Windows());
  const auto config = parse_model_config(changed("gemma-2-tiny", {{"sliding_window", 16}}), "config.json");
  EXPECT_EQ(config.window_of(2), 16);
  EXPECT_EQ(config.window_of(3), 0);
}

TEST(Config, Gemma2CapsAreThereUnlessNull) {
  auto document = changed("gemma-2-tiny", {{"final_logit_softcapping", nullptr}});
  document.erase("attn_logit_softcapping");
  const auto config = parse_model_config(document, "config.json");
  EXPECT_EQ(config.attention_soft_cap, 50);  // what transformers takes
  EXPECT_EQ(config.final_soft_cap, 0);
  EXPECT_EQ(model_config_json(config)["attn_logit_softcapping"], 50.0);
  EXPECT_TRUE(model_config_json(config)["final_logit_softcapping"].is_null());
  EXPECT_EQ(model_config_json(config)["query_pre_attn_scalar"], 64);
}

TEST(Config, WhatIsNotSupportedIsNamed) {
  EXPECT_THAT(message_of(changed("gemma-2-tiny", {{"hidden_activation", "gelu"}})),
              HasSubstr("hidden_activation other than gelu_pytorch_tanh"));
  EXPECT_THAT(message_of(changed("gemma-2-tiny", {{"layer_types", {"full_attention"}}})),
              HasSubstr("layer_types must name each of the 4 layers"));
  EXPECT_THAT(message_of(changed("gemma-2-tiny", {{"layer_types", {"chunked", "chunked", "chunked", "chunked"}}})),
              HasSubstr("layer_types 'chunked' is not supported"));
  EXPECT_THAT(message_of(changed("gemma-2-tiny", {{"use_bidirectional_attention", true}})),
              HasSubstr("use_bidirectional_attention true"));
  EXPECT_THAT(message_of(changed("mistral-tiny", {{"attn_logit_softcapping", 50.0}})),
              HasSubstr("attn_logit_softcapping 50.0"));
  EXPECT_THAT(message_of(changed("mistral-tiny", {{"layer_types", {"full_attention"}}})),
              HasSubstr("layer_types [\"full_attention\"] is not supported"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"sliding_window", 64}})), HasSubstr("sliding_window 64"));
  EXPECT_THAT(message_of(changed("gpt2-124m", {{"scale_attn_by_inverse_layer_idx", true}})),
              HasSubstr("scale_attn_by_inverse_layer_idx true is not supported"));
  EXPECT_THAT(message_of(changed("gpt2-124m", {{"activation_function", "relu"}})),
              HasSubstr("activation_function 'relu'"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}})),
              HasSubstr("'yarn'"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"attn_logit_softcapping", 50.0}})),
              HasSubstr("attn_logit_softcapping 50.0"));
  EXPECT_THAT(message_of(changed("gpt3-111m-alibi", {{"attn_config", {{"clip_qkv", 8}}}})),
              HasSubstr("attn_config.clip_qkv 8"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"model_type", "lama"}})), HasSubstr("did you mean 'llama'"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"hidden_size", nullptr}})), HasSubstr("hidden_size is missing"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"num_key_value_heads", 5}})), HasSubstr("not a multiple"));
  EXPECT_THAT(message_of(changed("llama-2-7b", {{"accordion", {{"position", "none"}}}})),
              HasSubstr("'none' cannot be had"));
  EXPECT_THAT(message_of(changed("gpt2-124m", {{"accordion", {{"positon", "none"}}}})),
              HasSubstr("accordion.positon is unknown"));
}

TEST(Config, KeysThatWeDoNotReadComeBack) {
  const auto config =
      parse_model_config(changed("llama-2-7b", {{"my_note", "kept"}, {"eos_token_id", {2, 7}}}), "config.json");
  EXPECT_EQ(config.eos, 2);
  const auto written = model_config_json(config);
  EXPECT_EQ(written["my_note"], "kept");
  EXPECT_EQ(written["eos_token_id"], json({2, 7}));
}

class FindModel : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("find_model_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void make(const std::filesystem::path& place) {
    std::filesystem::create_directories(folder_ / place);
    std::ofstream(folder_ / place / "config.json") << preset("demo").original;
    std::ofstream(folder_ / place / "model.safetensors") << "";
  }
  std::filesystem::path folder_;
};

TEST_F(FindModel, InEveryPlace) {
  EXPECT_TRUE(find_model("pythia-70m").weights.empty());
  EXPECT_EQ(find_model("pythia-70m.json").config_file.filename(), "pythia-70m.json");
  EXPECT_EQ(find_model("models/pythia-70m.json").config_file.filename(), "pythia-70m.json");
  make("directory");
  EXPECT_EQ(find_model(folder_ / "directory").weights, folder_ / "directory");
  EXPECT_TRUE(find_model(folder_ / "directory" / "config.json").weights.empty());
  make("run/checkpoints/step-9");
  make("run/checkpoints/step-10");
  EXPECT_EQ(find_model(folder_ / "run").weights.filename(), "step-10");
  std::ofstream(folder_ / "run/checkpoints/latest") << "step-9\n";
  EXPECT_EQ(find_model(folder_ / "run").weights.filename(), "step-9");
  std::filesystem::remove(folder_ / "run/checkpoints/latest");
  std::filesystem::create_symlink("step-9", folder_ / "run/checkpoints/latest");
  EXPECT_EQ(find_model(folder_ / "run").weights.filename(), "latest");
  make("finished/final");
  EXPECT_EQ(find_model(folder_ / "finished").weights.filename(), "final");
}

TEST_F(FindModel, SaysWhatIsWrong) {
  const auto message = [](const std::string& model) -> std::string {
    try {
      find_model(model);
    } catch (const UserError& error) {
      return error.what();
    }
    return "found";
  };
  EXPECT_THAT(message("pythia-70"), HasSubstr("did you mean 'pythia-70m'"));
  EXPECT_THAT(message(folder_), HasSubstr("neither a Hugging Face model"));
  make("directory");
  std::filesystem::remove(folder_ / "directory/model.safetensors");
  EXPECT_THAT(message(folder_ / "directory"), HasSubstr("no model.safetensors"));
  std::ofstream(folder_ / "directory/pytorch_model.bin") << "";
  EXPECT_THAT(message(folder_ / "directory"), HasSubstr("pickle"));
}

}  // namespace
}  // namespace accordion
