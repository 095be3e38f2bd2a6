#include <algorithm>
#include <array>
#include <initializer_list>
#include <iostream>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/config.h"

namespace accordion {
namespace {

using nlohmann::json;

/// Typed look-ups in one object of a config.json; null counts as absent, as in transformers.
class Keys {
 public:
  Keys(const json& object, std::string origin, std::string prefix = "")
      : object_(object), origin_(std::move(origin)), prefix_(std::move(prefix)) {
    if (!object.is_object()) throw UserError(origin_ + ": " + prefix_ + " is not a JSON object");
  }

  bool has(const std::string& key) const { return object_.contains(key) && !object_[key].is_null(); }

  int64_t count(const std::string& key) const {
    if (!has(key)) throw error(key, "is missing");
    return count(key, 0);
  }
  int64_t count(const std::string& key, int64_t fallback) const {
    if (!has(key)) return fallback;
    const auto& value = object_[key];
    if (!value.is_number_integer() || value.get<int64_t>() < 1)
      throw error(key, "must be a whole number of at least 1");
    return value.get<int64_t>();
  }
  double real(const std::string& key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_number()) throw error(key, "must be a number");
    return object_[key].get<double>();
  }
  double positive(const std::string& key, double fallback) const {
    const double value = real(key, fallback);
    if (!(value > 0)) throw error(key, "must be above 0");
    return value;
  }
  bool flag(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) throw error(key, "must be true or false");
    return object_[key].get<bool>();
  }
  std::string word(const std::string& key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) throw error(key, "must be a string");
    return object_[key].get<std::string>();
  }
  /// A token id; the first of a list of several, -1 where there is none.
  int64_t token(const std::string& key) const {
    if (!has(key)) return -1;
    const auto& value = object_[key];
    const auto& first = value.is_array() && !value.empty() ? value[0] : value;
    if (!first.is_number_integer()) throw error(key, "must be a token id");
    return first.get<int64_t>();
  }
  Keys inside(const std::string& key) const { return Keys(object_[key], origin_, prefix_ + key + "."); }

  void only_keys(const std::vector<std::string>& known) const {
    for (const auto& item : object_.items()) {
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        throw error(item.key(), "is unknown" + suggestion(item.key(), known));
      }
    }
  }

  /// Refuses a setting that would change the model's results and is not implemented.
  void only(const std::string& key, std::initializer_list<json> supported) const {
    if (!has(key)) return;
    for (const auto& value : supported) {
      if (object_[key] == value) return;
    }
    throw error(key, object_[key].dump() + " is not supported");
  }
  UserError error(const std::string& key, const std::string& what) const {
    return UserError(origin_ + ": " + prefix_ + key + " " + what);
  }

 private:
  const json& object_;
  std::string origin_, prefix_;
};

MlpKind gelu_kind(const Keys& keys, const std::string& key, const std::string& fallback) {
  const auto name = keys.word(key, fallback);
  if (name == "gelu" || name == "gelu_python") return MlpKind::gelu;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh" || name == "gelu_python_tanh") {
    return MlpKind::gelu_tanh;
  }
  throw keys.error(key, "'" + name + "' is not supported; one of: gelu, gelu_new, gelu_fast, gelu_pytorch_tanh");
}

/// A rotary setting from the newer spelling (inside rope_parameters) or one of the older keys; two values that differ
/// are an error, since versions of transformers disagree on which holds.
double rotary_value(const Keys& keys, const std::string& newer, std::initializer_list<const char*> older,
                    double fallback) {
  std::optional<double> found;
  const auto take = [&](const Keys& place, const std::string& key) {
    if (!place.has(key)) return;
    const double value = place.positive(key, 0);
    if (found && *found != value) throw keys.error(key, "is set twice, to different values");
    found = value;
  };
  if (keys.has("rope_parameters")) take(keys.inside("rope_parameters"), newer);
  for (const char* key : older) take(keys, key);
  return found.value_or(fallback);
}

ModelConfig::RotaryScaling rotary_scaling(const Keys& keys) {
  using Kind = ModelConfig::RotaryScaling::Kind;
  ModelConfig::RotaryScaling scaling;
  const bool older = keys.has("rope_scaling");
  if (!older && !keys.has("rope_parameters")) return scaling;
  const Keys inside = keys.inside(older ? "rope_scaling" : "rope_parameters");
  const auto kind = inside.word("rope_type", inside.word("type", "default"));
  if (kind == "default") return scaling;
  if (kind != "linear" && kind != "llama3") {
    throw inside.error("rope_type", "'" + kind + "' is not supported; one of: default, linear, llama3");
  }
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if ((kind == "llama3" || std::string(key) == "factor") && !inside.has(key)) throw inside.error(key, "is missing");
  }
  scaling.factor = inside.positive("factor", 1);
  scaling.kind = Kind::linear;
  if (kind == "llama3") {
    scaling.kind = Kind::llama3;
    scaling.low_frequency = inside.positive("low_freq_factor", 1);
    scaling.high_frequency = inside.positive("high_freq_factor", 4);
    scaling.original_positions = inside.count("original_max_position_embeddings", 8192);
    if (scaling.high_frequency <= scaling.low_frequency)
      throw inside.error("high_freq_factor", "must be above low_freq_factor");
  }
  return scaling;
}

void read_gpt2(const Keys& keys, ModelConfig& config) {
  config.layers = keys.count("n_layer");
  config.width = keys.count("n_embd");
  config.heads = config.kv_heads = keys.count("n_head");
  config.inner = keys.count("n_inner", 4 * config.width);
  config.max_positions = keys.count("n_positions", keys.count("n_ctx", 1024));
  config.norm_epsilon = keys.positive("layer_norm_epsilon", 1e-5);
  config.norm = NormKind::layer_norm;
  config.norm_bias = config.mlp_bias = config.qkv_bias = config.output_bias = true;
  config.mlp = gelu_kind(keys, "activation_function", "gelu_new");
  config.position = PositionKind::learned;
  if (!keys.flag("scale_attn_weights", true)) config.attention_scale = 1;
  config.tied_head = keys.flag("tie_word_embeddings", true);
  keys.only("scale_attn_by_inverse_layer_idx", {false});
}

void read_gpt_neox(const Keys& keys, ModelConfig& config) {
  config.layers = keys.count("num_hidden_layers");
  config.width = keys.count("hidden_size");
  config.heads = config.kv_heads = keys.count("num_attention_heads");
  config.inner = keys.count("intermediate_size");
  config.max_positions = keys.count("max_position_embeddings", 2048);
  config.norm_epsilon = keys.positive("layer_norm_eps", 1e-5);
  config.norm = NormKind::layer_norm;
  config.norm_bias = config.mlp_bias = true;
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", true);
  config.mlp = gelu_kind(keys, "hidden_act", "gelu");
  config.rotary_base = rotary_value(keys, "rope_theta", {"rotary_emb_base", "rope_theta"}, 10000);
  config.rotary_fraction = rotary_value(keys, "partial_rotary_factor", {"rotary_pct", "partial_rotary_factor"}, 0.25);
  config.rotary_scaling = rotary_scaling(keys);
  config.parallel_residual = keys.flag("use_parallel_residual", true);
  config.tied_head = keys.flag("tie_word_embeddings", false);
}

void read_llama(const Keys& keys, ModelConfig& config) {
  config.layers = keys.count("num_hidden_layers");
  config.width = keys.count("hidden_size");
  config.heads = keys.count("num_attention_heads");
  config.kv_heads = keys.count("num_key_value_heads", config.heads);
  config.head_width = keys.count("head_dim", std::max<int64_t>(1, config.width / config.heads));
  config.inner = keys.count("intermediate_size");
  config.max_positions = keys.count("max_position_embeddings", 2048);
  config.norm_epsilon = keys.positive("rms_norm_eps", 1e-6);
  config.norm = NormKind::rms_norm;
  config.mlp = MlpKind::swiglu;
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", false);
  config.mlp_bias = keys.flag("mlp_bias", false);
  config.rotary_base = rotary_value(keys, "rope_theta", {"rope_theta"}, 10000);
  config.rotary_fraction = rotary_value(keys, "partial_rotary_factor", {"partial_rotary_factor"}, 1);
  if (config.rotary_fraction != 1) throw keys.error("partial_rotary_factor", "other than 1 is not supported in llama");
  config.rotary_scaling = rotary_scaling(keys);
  config.tied_head = keys.flag("tie_word_embeddings", false);
  keys.only("hidden_act", {"silu", "swish"});
}

void read_mpt(const Keys& keys, ModelConfig& config) {
  config.layers = keys.count("n_layers");
  config.width = keys.count("d_model");
  config.heads = config.kv_heads = keys.count("n_heads");
  config.inner = 4 * config.width;  // transformers knows no other ratio
  config.max_positions = keys.count("max_seq_len", 2048);
  config.norm_epsilon = keys.positive("layer_norm_epsilon", 1e-5);
  config.norm = NormKind::layer_norm;
  config.mlp = MlpKind::gelu;
  config.position = PositionKind::alibi;
  config.tied_head = keys.flag("tie_word_embeddings", true);
  keys.only("expansion_ratio", {4});
  keys.only("no_bias", {true});
  keys.only("norm_type", {"low_precision_layernorm", "layernorm"});
  keys.only("logit_scale", {});
  if (!keys.has("attn_config")) return;
  const Keys attention = keys.inside("attn_config");
  if (attention.has("softmax_scale")) config.attention_scale = attention.positive("softmax_scale", 1);
  attention.only("alibi", {true});
  attention.only("alibi_bias_max", {8});  // transformers reads it and takes 8 all the same
  attention.only("attn_type", {"multihead_attention"});
  attention.only("clip_qkv", {});
  attention.only("prefix_lm", {false});
  attention.only("qk_ln", {false});
  attention.only("attn_uses_sequence_id", {false});
}

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
    throw own.error("position",
                    "'" + name + "' cannot be had with model_type '" + name_of(config.family) +
                        "'; positions are learned or none in gpt2, rotary in gpt_neox and llama, alibi in mpt");
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
  keys.only("attn_logit_softcapping", {});
  keys.only("final_logit_softcapping", {});
  keys.only("sliding_window", {});
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
  switch (config.family) {
    case Family::gpt2:
      read_gpt2(keys, config);
      break;
    case Family::gpt_neox:
      read_gpt_neox(keys, config);
      break;
    case Family::llama:
      read_llama(keys, config);
      break;
    case Family::mpt:
      read_mpt(keys, config);
      break;
  }
  read_own(keys, config);
  check(keys, config);
  notice_dropout(keys, origin);
  config.original = document;
  return config;
}

}  // namespace accordion
