#include <algorithm>
#include <cmath>
#include <string>

#include "model/config.h"
#include "model/config_tokens.h"

namespace accordion {
namespace {

using nlohmann::json;

std::string activation_name(const ModelConfig& config) {
  switch (config.mlp) {
    case MlpKind::gelu:
      return "gelu";
    case MlpKind::gelu_tanh:
      return "gelu_new";
    case MlpKind::swiglu:
      return "silu";
    case MlpKind::geglu:
      return "gelu_pytorch_tanh";
  }
  return {};
}

json rotary_scaling_json(const ModelConfig::RotaryScaling& scaling) {
  using Kind = ModelConfig::RotaryScaling::Kind;
  switch (scaling.kind) {
    case Kind::none:
      return nullptr;
    case Kind::linear:
      return {{"type", "linear"}, {"factor", scaling.factor}};
    case Kind::llama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_frequency},
              {"high_freq_factor", scaling.high_frequency},
              {"original_max_position_embeddings", scaling.original_positions}};
  }
  return nullptr;
}

json gpt2_json(const ModelConfig& config) {
  json own = {{"architectures", {"GPT2LMHeadModel"}},
              {"n_layer", config.layers},
              {"n_embd", config.width},
              {"n_head", config.heads},
              {"n_inner", config.inner},
              {"n_positions", config.max_positions},
              {"n_ctx", config.max_positions},
              {"layer_norm_epsilon", config.norm_epsilon},
              {"activation_function", activation_name(config)},
              {"scale_attn_weights", !config.attention_scale.has_value()},
              {"resid_pdrop", 0.0},
              {"embd_pdrop", 0.0},
              {"attn_pdrop", 0.0}};
  if (config.position == PositionKind::none) own["accordion"] = {{"position", "none"}};
  return own;
}

json gpt_neox_json(const ModelConfig& config) {
  return {{"architectures", {"GPTNeoXForCausalLM"}},
          {"num_hidden_layers", config.layers},
          {"hidden_size", config.width},
          {"num_attention_heads", config.heads},
          {"intermediate_size", config.inner},
          {"max_position_embeddings", config.max_positions},
          {"layer_norm_eps", config.norm_epsilon},
          {"attention_bias", config.qkv_bias},
          {"hidden_act", activation_name(config)},
          {"rotary_emb_base", config.rotary_base},
          {"rotary_pct", config.rotary_fraction},
          {"rope_scaling", rotary_scaling_json(config.rotary_scaling)},
          {"use_parallel_residual", config.parallel_residual},
          {"attention_dropout", 0.0},
          {"hidden_dropout", 0.0}};
}

json llama_like_json(const ModelConfig& config, const char* architecture) {
  return {{"architectures", {architecture}},
          {"num_hidden_layers", config.layers},
          {"hidden_size", config.width},
          {"num_attention_heads", config.heads},
          {"num_key_value_heads", config.kv_heads},
          {"head_dim", config.head_width},
          {"intermediate_size", config.inner},
          {"max_position_embeddings", config.max_positions},
          {"rms_norm_eps", config.norm_epsilon},
          {config.family == Family::gemma2 ? "hidden_activation" : "hidden_act", activation_name(config)},
          {"rope_theta", config.rotary_base},
          {"rope_scaling", rotary_scaling_json(config.rotary_scaling)},
          {"attention_dropout", 0.0}};
}

json llama_json(const ModelConfig& config) {
  json own = llama_like_json(config, "LlamaForCausalLM");
  own["attention_bias"] = config.qkv_bias;
  own["mlp_bias"] = config.mlp_bias;
  return own;
}

int64_t widest_window(const ModelConfig& config) {
  return config.windows.empty() ? 0 : *std::max_element(config.windows.begin(), config.windows.end());
}

json layer_types(const ModelConfig& config) {
  json types = json::array();
  for (int64_t l = 0; l < config.layers; ++l)
    types.push_back(config.window_of(l) > 0 ? "sliding_attention" : "full_attention");
  return types;
}

json mistral_json(const ModelConfig& config) {
  json own = llama_like_json(config, "MistralForCausalLM");
  const int64_t window = widest_window(config);
  own["sliding_window"] = window > 0 ? json(window) : json(nullptr);
  return own;
}

json qwen2_json(const ModelConfig& config) {
  json own = llama_like_json(config, "Qwen2ForCausalLM");
  own["use_sliding_window"] = !config.windows.empty();
  if (config.windows.empty()) return own;
  const auto first = std::find_if(config.windows.begin(), config.windows.end(), [](int64_t w) { return w > 0; });
  own["sliding_window"] = widest_window(config);
  own["max_window_layers"] = first - config.windows.begin();  // transformers 4 knows this key alone
  own["layer_types"] = layer_types(config);
  return own;
}

json gemma2_json(const ModelConfig& config) {
  json own = llama_like_json(config, "Gemma2ForCausalLM");
  const auto cap = [](double value) { return value > 0 ? json(value) : json(nullptr); };
  const double scale = config.attention_scale.value_or(1 / std::sqrt(static_cast<double>(config.head_width)));
  own["attention_bias"] = config.qkv_bias;
  own["query_pre_attn_scalar"] = std::llround(1 / (scale * scale));  // transformers 5 insists on a whole number
  own["attn_logit_softcapping"] = cap(config.attention_soft_cap);
  own["final_logit_softcapping"] = cap(config.final_soft_cap);
  // transformers insists on a window; where no layer slides one of all positions says the same.
  own["sliding_window"] = config.windows.empty() ? config.max_positions : widest_window(config);
  own["layer_types"] = layer_types(config);
  return own;
}

json mpt_json(const ModelConfig& config) {
  json attention = {{"alibi", true}, {"alibi_bias_max", 8}, {"attn_pdrop", 0}};
  if (config.attention_scale) attention["softmax_scale"] = *config.attention_scale;
  return {{"architectures", {"MptForCausalLM"}},
          {"n_layers", config.layers},
          {"d_model", config.width},
          {"n_heads", config.heads},
          {"expansion_ratio", 4},
          {"max_seq_len", config.max_positions},
          {"layer_norm_epsilon", config.norm_epsilon},
          {"no_bias", true},
          {"learned_pos_emb", false},
          {"attn_config", attention},
          {"resid_pdrop", 0.0},
          {"emb_pdrop", 0.0}};
}

}  // namespace

json model_config_json(const ModelConfig& config) {
  json own;
  switch (config.family) {
    case Family::gpt2:
      own = gpt2_json(config);
      break;
    case Family::gpt_neox:
      own = gpt_neox_json(config);
      break;
    case Family::llama:
      own = llama_json(config);
      break;
    case Family::mistral:
      own = mistral_json(config);
      break;
    case Family::qwen2:
      own = qwen2_json(config);
      break;
    case Family::gemma2:
      own = gemma2_json(config);
      break;
    case Family::mpt:
      own = mpt_json(config);
      break;
  }
  own["model_type"] = name_of(config.family);
  own["vocab_size"] = config.vocabulary;
  own["initializer_range"] = config.initializer_range;
  own["tie_word_embeddings"] = config.tied_head;
  name_tokens(config, config.original, own);
  json document = config.original.is_object() ? config.original : json::object();
  // The newer spelling of what stands in `own`, and what described the file that was read.
  for (const char* key :
       {"rope_parameters", "partial_rotary_factor", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}) {
    document.erase(key);
  }
  if (config.family == Family::gpt_neox) document.erase("rope_theta");
  if (config.position != PositionKind::none) document.erase("accordion");
  document.update(own);
  return document;
}

}  // namespace accordion
