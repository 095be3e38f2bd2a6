#pragma once

#include <vector>

#include "model/config.h"
#include "model/transformer.h"

namespace accordion {

struct TinyModel {
  const char* name;
  const char* json;
};

/// One small configuration for every variant of the model.
inline const std::vector<TinyModel> kTinyModels{
    {"gpt2", R"({"model_type":"gpt2","vocab_size":61,"n_positions":64,"n_embd":24,"n_layer":2,"n_head":3})"},
    {"gpt2_untied_exact_gelu",
     R"({"model_type":"gpt2","vocab_size":61,"n_positions":64,"n_embd":24,"n_layer":2,"n_head":3,
        "n_inner":40,"activation_function":"gelu","tie_word_embeddings":false,"scale_attn_weights":false})"},
    {"gpt2_without_positions",
     R"({"model_type":"gpt2","vocab_size":61,"n_positions":64,"n_embd":24,"n_layer":2,"n_head":3,
        "accordion":{"position":"none"}})"},
    {"gpt_neox_parallel", R"({"model_type":"gpt_neox","vocab_size":61,"hidden_size":32,"num_hidden_layers":2,
        "num_attention_heads":2,"intermediate_size":48,"rotary_pct":0.25})"},
    {"gpt_neox_sequential", R"({"model_type":"gpt_neox","vocab_size":61,"hidden_size":24,"num_hidden_layers":2,
        "num_attention_heads":3,"intermediate_size":48,"rotary_pct":1.0,"use_parallel_residual":false,
        "tie_word_embeddings":true,"attention_bias":false})"},
    {"llama", R"({"model_type":"llama","vocab_size":61,"hidden_size":24,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"head_dim":8,"intermediate_size":40})"},
    {"llama_tied_biases_scaled", R"({"model_type":"llama","vocab_size":61,"hidden_size":24,"num_hidden_layers":2,
        "num_attention_heads":3,"num_key_value_heads":1,"intermediate_size":40,"attention_bias":true,"mlp_bias":true,
        "tie_word_embeddings":true,"rope_scaling":{"rope_type":"llama3","factor":4.0,"low_freq_factor":1.0,
        "high_freq_factor":4.0,"original_max_position_embeddings":16}})"},
    {"mistral",
     R"({"model_type":"mistral","vocab_size":61,"hidden_size":24,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"head_dim":8,"intermediate_size":40,"sliding_window":5})"},
    {"qwen2_one_window", R"({"model_type":"qwen2","vocab_size":61,"hidden_size":24,"num_hidden_layers":2,
        "num_attention_heads":3,"num_key_value_heads":1,"intermediate_size":40,"tie_word_embeddings":true,
        "use_sliding_window":true,"sliding_window":6,"max_window_layers":1})"},
    {"gemma2", R"({"model_type":"gemma2","vocab_size":61,"hidden_size":24,"num_hidden_layers":3,"num_attention_heads":4,
        "num_key_value_heads":2,"head_dim":8,"intermediate_size":40,"sliding_window":4,"query_pre_attn_scalar":6,
        "attn_logit_softcapping":1.5,"final_logit_softcapping":2.0})"},
    {"mpt", R"({"model_type":"mpt","vocab_size":61,"d_model":24,"n_layers":2,"n_heads":3,"max_seq_len":64})"},
};

/// A tiny model with weights large enough for every term to matter, biases and norms too.
inline Transformer tiny_model(const TinyModel& tiny, torch::Dtype dtype = torch::kFloat) {
  at::set_num_threads(1);  // more would only wait for each other
  const torch::NoGradGuard guard;
  Transformer model(parse_model_config(nlohmann::json::parse(tiny.json), tiny.name), dtype);
  model.initialise(1);
  torch::manual_seed(2);
  for (auto& item : model.weights()) item.second.add_(torch::randn(item.second.sizes()).mul(0.2).to(dtype));
  return model;
}

}  // namespace accordion
