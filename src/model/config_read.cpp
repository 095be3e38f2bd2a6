#include <array>
#include <iostream>
#include <mutex>
#include <set>
#include <vector>

#include "model/config_keys.h"

namespace accordion {
namespace {

using nlohmann::json;

/// What transformers cannot say. The only such thing so far: a gpt2 without positions, which it sees as a table of
/// zeros.
void read_own(const Keys& keys, ModelConfig& config) {
  if (!keys.has("accordion")) return;
  const Keys own = keys.inside("accordion");
  own.only_keys({"position"});
  const auto name = own.word("position", name_of(config.position));
  PositionKind position;
  if (!parse_name(name, position)) {
    throw own.error("position", "'" + name + "' is unknown" + suggestion(name, all_names<PositionKind>()));
  }
  const bool without = config.family == Family::gpt2 && position == PositionKind::none;
  if (position != config.position && !without) {
    throw own.error("position", "'" + name + "' cannot be had with model_type '" + name_of(config.family) +
                                    "'; positions are learned or none in gpt2, alibi in mpt, rotary in the others");
  }
  config.position = position;
}

void check(const Keys& keys, ModelConfig& config) {
  if (config.head_width == 0) {
    if (config.width % config.heads != 0) {
      throw keys.error("width", std::to_string(config.width) + " is not a multiple of the " +
                                    std::to_string(config.heads) + " heads");
    }
    config.head_width = config.width / config.heads;
  }
  if (config.heads % config.kv_heads != 0) {
    throw keys.error("num_attention_heads", "is not a multiple of num_key_value_heads");
  }
  if (config.position == PositionKind::rotary) {
    // transformers rounds an odd number of rotated values up to whole pairs.
    const auto rotated = static_cast<int64_t>(static_cast<double>(config.head_width) * config.rotary_fraction);
    if (rotated < 1 || rotated + rotated % 2 > config.head_width) {
      throw keys.error("rotary_pct", "must rotate at least 1 and at most all values of a head of " +
                                         std::to_string(config.head_width) + ", in pairs");
    }
  }
  keys.only("quantization_config", {});
  if (config.family != Family::gemma2) {
    keys.only("attn_logit_softcapping", {});
    keys.only("final_logit_softcapping", {});
  }
  const bool slides =
      config.family == Family::mistral || config.family == Family::qwen2 || config.family == Family::gemma2;
  if (!slides) keys.only("sliding_window", {});
  keys.only("add_cross_attention", {false});
  keys.only("is_encoder_decoder", {false});
  keys.only("pruned_heads", {json::object()});
}

/// Says once for each file that dropout is taken as 0.
void notice_dropout(const Keys& keys, const std::string& origin) {
  constexpr std::array names{"resid_pdrop",       "embd_pdrop",     "emb_pdrop",       "attn_pdrop",
                             "attention_dropout", "hidden_dropout", "residual_dropout"};
  static std::mutex mutex;
  static std::set<std::string> told;
  std::vector<Keys> places{keys};
  if (keys.has("attn_config")) places.push_back(keys.inside("attn_config"));
  for (const auto& place : places) {
    for (const char* name : names) {
      if (place.real(name, 0) == 0) continue;
      const std::lock_guard lock(mutex);
      if (told.insert(origin).second) {
        std::cerr << "notice: " << origin << ": " << name << " is taken as 0, like every dropout\n";
      }
      return;
    }
  }
}

}  // namespace

ModelConfig parse_model_config(const json& document, const std::string& origin) {
  const Keys keys(document, origin);
  ModelConfig config;
  const auto type = keys.word("model_type", "");
  if (type.empty()) throw keys.error("model_type", "is missing");
  if (!parse_name(type, config.family)) {
    throw keys.error("model_type", "'" + type + "' is not supported" + suggestion(type, all_names<Family>()));
  }
  config.vocabulary = keys.count("vocab_size");
  config.initializer_range = keys.positive("initializer_range", 0.02);
  config.bos = keys.token("bos_token_id");
  config.eos = keys.token("eos_token_id");
  read_family(keys, config);
  read_own(keys, config);
  check(keys, config);
  notice_dropout(keys, origin);
  config.original = document;
  return config;
}

}  // namespace accordion
