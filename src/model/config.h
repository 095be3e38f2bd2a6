#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/names.h"

namespace accordion {

/// Hugging Face's `model_type`s that we read and write.
enum class Family { gpt2, gpt_neox, llama, mistral, qwen2, gemma2, mpt };
template <>
struct Names<Family> {
  static constexpr std::array value{"gpt2", "gpt_neox", "llama", "mistral", "qwen2", "gemma2", "mpt"};
};
enum class NormKind { layer_norm, rms_norm };
enum class MlpKind { gelu, gelu_tanh, swiglu, geglu };  // geglu: with the tanh form of GELU
enum class PositionKind { none, learned, rotary, alibi };
template <>
struct Names<PositionKind> {
  static constexpr std::array value{"none", "learned", "rotary", "alibi"};
};

/// What a model is, in plain numbers. The transformer reads nothing else; a family is a way of filling this in.
struct ModelConfig {
  Family family = Family::llama;
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0, inner = 0, vocabulary = 0;  // L D H K E F V
  int64_t max_positions = 0;  // rows of a learned table; what the model was meant for otherwise
  NormKind norm = NormKind::rms_norm;
  double norm_epsilon = 1e-5;
  bool norm_bias = false;
  bool norm_plus_one = false;  // norms multiply by 1 + weight
  bool post_norms = false;     // x + norm(attention(norm(x))), then x + norm(mlp(norm(x)))
  MlpKind mlp = MlpKind::swiglu;
  bool mlp_bias = false;
  bool qkv_bias = false, output_bias = false;  // of the attention's projections
  PositionKind position = PositionKind::rotary;
  double rotary_base = 10000;
  double rotary_fraction = 1;  // leading share of E that is rotated
  /// Llama 3.1's scaling of slow frequencies; factor 1 = off. `linear` divides all frequencies.
  struct RotaryScaling {
    enum class Kind { none, linear, llama3 } kind = Kind::none;
    double factor = 1, low_frequency = 1, high_frequency = 4;
    int64_t original_positions = 8192;
  } rotary_scaling;
  std::optional<double> attention_scale;  // default 1 / sqrt(E)
  double attention_soft_cap = 0;          // scores become cap * tanh(score / cap); 0 = off
  double final_soft_cap = 0;              // the same of the head's logits
  std::vector<int64_t> windows;           // by layer: a query sees so many keys, itself the last; 0 = all. Empty = all
  double embedding_scale = 1;             // of the token embeddings, rounded to the type of the weights
  bool parallel_residual = false;         // x + attention(norm1(x)) + mlp(norm2(x))
  bool tied_head = false;
  double initializer_range = 0.02;
  int64_t bos = -1, eos = -1;  // token ids; -1 = none
  int64_t pad = -1;            // the embedding's row that starts at 0 and learns nothing from inputs; -1 = none
  nlohmann::json original;     // the config.json it came from; written back with what changed

  int64_t window_of(int64_t layer) const { return windows.empty() ? 0 : windows[static_cast<size_t>(layer)]; }
  bool gated() const { return mlp == MlpKind::swiglu || mlp == MlpKind::geglu; }  // three matrices in the MLP, not two

  /// Number of trainable values.
  int64_t parameters() const;
  /// Values that take part in matrix products, once each: projections and MLPs of the layers, and the head (also where
  /// tied).
  int64_t layer_matmul_parameters() const;
  int64_t head_parameters() const { return vocabulary * width; }
  int64_t attention_width() const { return heads * head_width; }  // "a" of the FLOPs formulas
};

/// Reads a config.json of any of the families, in both of Hugging Face's spellings of rotary settings; UserError names
/// the key that is missing, unknown in value, or not supported. `origin` is the file's name in messages.
ModelConfig parse_model_config(const nlohmann::json& json, const std::string& origin);

/// The config.json that transformers (4.44 and 5) and we read back to the same model.
nlohmann::json model_config_json(const ModelConfig& config);

/// Names a tokenizer's special tokens (-1 = it has none) in place of those that the file came with. The row of the
/// padding token belongs to weights that are there, so it changes only where they are to be drawn at random.
void take_tokens(ModelConfig& config, int64_t bos, int64_t eos, int64_t pad, bool random_weights);
/// The generation_config.json of a model directory; an empty object where there is none. UserError where it is no JSON
/// object.
nlohmann::json read_generation_config(const std::filesystem::path& directory);
/// `read` with the special tokens of `config`, for transformers' `generate`; a list of ends that holds the model's
/// stays.
nlohmann::json generation_config_json(const ModelConfig& config, nlohmann::json read);
/// Every id that ends a text: eos_token_id of config.json and of generation_config.json, one or a list in each.
std::vector<int64_t> end_ids(const ModelConfig& config, const nlohmann::json& generation);

/// Finds what a person named as MODEL: a config.json, a Hugging Face directory, a checkpoint, a run folder (its newest
/// checkpoint), or a name in models/ (with or without .json). `weights` is the directory that holds the weights, empty
/// where they are to be drawn at random; `directory` where the tokenizer would be.
struct ModelLocation {
  std::filesystem::path config_file;
  std::filesystem::path weights;
  std::filesystem::path directory;
};
ModelLocation find_model(const std::string& model);
ModelConfig load_model_config(const ModelLocation& location);

}  // namespace accordion
