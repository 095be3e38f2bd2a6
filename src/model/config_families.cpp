#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "model/config_keys.h"

namespace accordion {
namespace {

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

/// What llama and the families that came from it spell alike; MLP and head are SwiGLU and untied unless they say so.
void read_llama_like(const Keys& keys, ModelConfig& config, int64_t max_positions) {
  config.layers = keys.count("num_hidden_layers");
  config.width = keys.count("hidden_size");
  config.heads = keys.count("num_attention_heads");
  config.kv_heads = keys.count("num_key_value_heads", config.heads);
  config.head_width = keys.count("head_dim", std::max<int64_t>(1, config.width / config.heads));
  config.inner = keys.count("intermediate_size");
  config.max_positions = keys.count("max_position_embeddings", max_positions);
  config.norm_epsilon = keys.positive("rms_norm_eps", 1e-6);
  config.norm = NormKind::rms_norm;
  config.mlp = MlpKind::swiglu;
  config.rotary_base = rotary_value(keys, "rope_theta", {"rope_theta"}, 10000);
  config.rotary_fraction = rotary_value(keys, "partial_rotary_factor", {"partial_rotary_factor"}, 1);
  if (config.rotary_fraction != 1) {
    throw keys.error("partial_rotary_factor", "other than 1 is not supported in " + name_of(config.family));
  }
  config.rotary_scaling = rotary_scaling(keys);
  config.tied_head = keys.flag("tie_word_embeddings", false);
  config.pad = keys.token("pad_token_id");
}

void read_llama(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 2048);
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", false);
  config.mlp_bias = keys.flag("mlp_bias", false);
  keys.only("hidden_act", {"silu", "swish"});
}

/// Windows by layer: those of `layer_types` where the file has that list, those of the family's rule otherwise.
std::vector<int64_t> windows(const Keys& keys, int64_t layers, int64_t window, auto slides) {
  const auto types = keys.words("layer_types");
  if (!types.empty() && static_cast<int64_t>(types.size()) != layers) {
    throw keys.error("layer_types", "must name each of the " + std::to_string(layers) + " layers");
  }
  std::vector<int64_t> result(static_cast<size_t>(layers), 0);
  for (size_t l = 0; l < result.size(); ++l) {
    if (types.empty()) {
      if (slides(static_cast<int64_t>(l))) result[l] = window;
    } else if (types[l] == "sliding_attention") {
      if (window == 0) throw keys.error("sliding_window", "is missing, but layer_types says sliding_attention");
      result[l] = window;
    } else if (types[l] != "full_attention") {
      throw keys.error("layer_types", "'" + types[l] + "' is not supported; one of: full_attention, sliding_attention");
    }
  }
  if (std::all_of(result.begin(), result.end(), [](int64_t w) { return w == 0; })) result.clear();
  return result;
}

void read_mistral(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 4096 * 32);
  keys.only("layer_types", {});  // transformers lets every layer slide all the same
  config.windows =
      windows(keys, config.layers, keys.count_or_off("sliding_window", 4096), [](int64_t) { return true; });
  keys.only("hidden_act", {"silu", "swish"});
}

void read_qwen2(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 32768);
  config.qkv_bias = true;
  const int64_t window = keys.flag("use_sliding_window", false) ? keys.count_or_off("sliding_window", 4096) : 0;
  const int64_t full = keys.count("max_window_layers", 28, 0);
  config.windows = windows(keys, config.layers, window, [full](int64_t l) { return l >= full; });
  keys.only("hidden_act", {"silu", "swish"});
}

void read_gemma2(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 8192);
  config.head_width = keys.count("head_dim", 256);
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", false);
  config.tied_head = keys.flag("tie_word_embeddings", true);
  if (!keys.named("pad_token_id")) config.pad = 0;
  config.norm_plus_one = config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  config.attention_scale = 1 / std::sqrt(static_cast<double>(keys.count("query_pre_attn_scalar", 256)));
  config.attention_soft_cap = keys.positive_or_off("attn_logit_softcapping", 50);
  config.final_soft_cap = keys.positive_or_off("final_logit_softcapping", 30);
  config.windows =
      windows(keys, config.layers, keys.count_or_off("sliding_window", 4096), [](int64_t l) { return l % 2 == 0; });
  config.mlp = MlpKind::geglu;  // hidden_act stands in published files too, but transformers reads this one
  if (gelu_kind(keys, "hidden_activation", "gelu_pytorch_tanh") != MlpKind::gelu_tanh) {
    throw keys.error("hidden_activation", "other than gelu_pytorch_tanh is not supported in gemma2");
  }
  keys.only("use_bidirectional_attention", {false});
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

}  // namespace

void read_family(const Keys& keys, ModelConfig& config) {
  switch (config.family) {
    case Family::gpt2:
      return read_gpt2(keys, config);
    case Family::gpt_neox:
      return read_gpt_neox(keys, config);
    case Family::llama:
      return read_llama(keys, config);
    case Family::mistral:
      return read_mistral(keys, config);
    case Family::qwen2:
      return read_qwen2(keys, config);
    case Family::gemma2:
      return read_gemma2(keys, config);
    case Family::mpt:
      return read_mpt(keys, config);
  }
}

}  // namespace accordion
