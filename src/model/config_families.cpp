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

/// A size under the family's own name or under the common one that transformers maps to it (its `attribute_map`).
int64_t mapped_count(const Keys& keys, const std::string& own, const std::string& common,
                     std::optional<int64_t> fallback = {}) {
  if (!keys.has(common)) return fallback ? keys.count(own, *fallback) : keys.count(own);
  const auto count = keys.count(common);
  if (keys.has(own) && keys.count(own) != count)
    throw keys.error(common, "and " + own + " are two names of one setting, set to different values");
  return count;
}

/// The row of the embedding that PyTorch's padding_idx = pad_token_id stands for; -1 = none. A negative id counts from
/// the end, as in PyTorch.
int64_t padding_row(const Keys& keys, int64_t vocabulary, int64_t absent = -1) {
  if (!keys.has("pad_token_id")) return keys.named("pad_token_id") ? -1 : absent;
  const auto id = keys.token("pad_token_id");
  if (id < -vocabulary || id >= vocabulary)
    throw keys.error("pad_token_id", std::to_string(id) + " is outside of the vocabulary of " +
                                         std::to_string(vocabulary) + ", as its embedding's padding row");
  return id < 0 ? vocabulary + id : id;
}

void read_gpt2(const Keys& keys, ModelConfig& config) {
  config.layers = mapped_count(keys, "n_layer", "num_hidden_layers");
  config.width = mapped_count(keys, "n_embd", "hidden_size");
  config.heads = config.kv_heads = mapped_count(keys, "n_head", "num_attention_heads");
  config.inner = keys.count_or_null("n_inner", 4 * config.width, 4 * config.width);
  config.max_positions = mapped_count(keys, "n_positions", "max_position_embeddings", 1024);
  if (keys.has("n_ctx") && keys.count("n_ctx") != config.max_positions)
    keys.note("n_ctx",
              "is not read by transformers; the model has n_positions = " + std::to_string(config.max_positions));
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
  read_rotary(keys, {"rotary_emb_base", "rotary_pct", 0.25}, config);
  config.parallel_residual = keys.flag("use_parallel_residual", true);
  config.tied_head = keys.flag("tie_word_embeddings", false);
}

/// What llama and the families that came from it spell alike; MLP and head are SwiGLU and untied unless they say so.
/// `kv_heads`: where num_key_value_heads is absent (null says as many as heads); none = as many as heads.
void read_llama_like(const Keys& keys, ModelConfig& config, int64_t max_positions, std::optional<int64_t> kv_heads) {
  config.layers = keys.count("num_hidden_layers");
  config.width = keys.count("hidden_size");
  config.heads = keys.count("num_attention_heads");
  config.kv_heads = keys.count_or_null("num_key_value_heads", kv_heads.value_or(config.heads), config.heads);
  const auto head_width = std::max<int64_t>(1, config.width / config.heads);
  config.head_width = keys.count_or_null("head_dim", head_width, head_width);
  config.inner = keys.count("intermediate_size");
  config.max_positions = keys.count("max_position_embeddings", max_positions);
  config.norm_epsilon = keys.positive("rms_norm_eps", 1e-6);
  config.norm = NormKind::rms_norm;
  config.mlp = MlpKind::swiglu;
  read_rotary(keys, {"rope_theta", "partial_rotary_factor"}, config);
  if (config.rotary_fraction != 1) {
    throw keys.error("partial_rotary_factor", "other than 1 is not supported in " + name_of(config.family));
  }
  config.tied_head = keys.flag("tie_word_embeddings", false);
  config.pad = padding_row(keys, config.vocabulary);
}

void read_llama(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 2048, {});
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", false);
  config.mlp_bias = keys.flag("mlp_bias", false);
  if (keys.has("pretraining_tp") && keys.count("pretraining_tp") != 1)
    keys.note("pretraining_tp", "is taken as 1, as transformers 5 does; 4 cut the products, for the same sums");
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
  read_llama_like(keys, config, 4096 * 32, 8);
  keys.only("layer_types", {});  // transformers lets every layer slide all the same
  config.windows =
      windows(keys, config.layers, keys.count_or_null("sliding_window", 4096, 0), [](int64_t) { return true; });
  keys.only("hidden_act", {"silu", "swish"});
}

void read_qwen2(const Keys& keys, ModelConfig& config) {
  read_llama_like(keys, config, 32768, 32);
  config.qkv_bias = true;
  const int64_t given = keys.count_or_null("sliding_window", 4096, 0);
  const int64_t window = keys.flag("use_sliding_window", false) ? given : 0;
  const int64_t full = keys.count("max_window_layers", 28, 0);
  config.windows = windows(keys, config.layers, window, [full](int64_t l) { return l >= full; });
  keys.only("hidden_act", {"silu", "swish"});
}

void read_gemma2(const Keys& keys, ModelConfig& config) {
  for (const char* key : {"num_key_value_heads", "query_pre_attn_scalar"}) {
    if (!keys.has(key)) throw keys.error(key, "is missing; its default differs between versions of transformers");
  }
  read_llama_like(keys, config, 8192, {});
  config.head_width = keys.count("head_dim", 256);
  config.qkv_bias = config.output_bias = keys.flag("attention_bias", false);
  config.tied_head = keys.flag("tie_word_embeddings", true);
  config.pad = padding_row(keys, config.vocabulary, 0);
  config.norm_plus_one = config.post_norms = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  config.attention_scale = 1 / std::sqrt(static_cast<double>(keys.count("query_pre_attn_scalar")));
  config.attention_soft_cap = keys.positive_or_off("attn_logit_softcapping", 50);
  config.final_soft_cap = keys.positive_or_off("final_logit_softcapping", 30);
  const auto window = keys.count_or_null("sliding_window", 4096, 0);
  if (window == 0 && !keys.has("layer_types"))
    throw keys.error("sliding_window", "is null, but every second layer slides");
  config.windows = windows(keys, config.layers, window, [](int64_t l) { return l % 2 == 0; });
  config.mlp = MlpKind::geglu;
  keys.named("hidden_act");  // stands in published files too, but transformers reads the other one
  if (gelu_kind(keys, "hidden_activation", "gelu_pytorch_tanh") != MlpKind::gelu_tanh) {
    throw keys.error("hidden_activation", "other than gelu_pytorch_tanh is not supported in gemma2");
  }
  keys.only("use_bidirectional_attention", {false});
}

void read_mpt(const Keys& keys, ModelConfig& config) {
  config.layers = mapped_count(keys, "n_layers", "num_hidden_layers");
  config.width = mapped_count(keys, "d_model", "hidden_size");
  config.heads = config.kv_heads = mapped_count(keys, "n_heads", "num_attention_heads");
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
  keys.only("embedding_fraction", {1});
  if (!keys.has("attn_config")) return;
  const Keys attention = keys.inside("attn_config");
  if (attention.has("softmax_scale")) config.attention_scale = attention.positive("softmax_scale", 1);
  attention.only("alibi", {true});
  attention.only("alibi_bias_max", {8});  // transformers reads it and takes 8 all the same
  attention.only("attn_type", {"multihead_attention"});
  attention.only("clip_qkv", {0});
  attention.only("prefix_lm", {false});
  attention.only("qk_ln", {false});
  attention.only("attn_uses_sequence_id", {false});
  attention.only("rope", {false});
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
