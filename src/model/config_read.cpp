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
  // Keys by which transformers 5 takes other files, or another configuration for each layer.
  for (const char* key : {"transformers_weights", "configuration_files", "per_layer_config"}) keys.only(key, {});
}

/// Keeps a note that dropout is taken as 0.
void note_dropout(const Keys& keys) {
  constexpr std::array names{"resid_pdrop",       "embd_pdrop",     "emb_pdrop",       "attn_pdrop",
                             "attention_dropout", "hidden_dropout", "residual_dropout"};
  std::vector<Keys> places{keys};
  if (keys.has("attn_config")) places.push_back(keys.inside("attn_config"));
  std::vector<std::string> above;
  for (const auto& place : places) {
    for (const char* name : names) {
      if (!place.has(name) || place.real(name, 0) == 0) continue;
      if (above.empty()) place.note(name, "is taken as 0, like every dropout");
      above.emplace_back(name);
    }
  }
}

/// What transformers writes beside a model and what says nothing about its log-probabilities: other tasks than this,
/// defaults of generation, how something was computed or stored.
const std::set<std::string>& bookkeeping() {
  static const std::set<std::string> names{
      // of every configuration
      "model_type", "architectures", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash",
      "torch_dtype", "dtype", "use_bfloat16", "auto_map", "attn_implementation", "_attn_implementation",
      "_attn_implementation_autoset", "return_dict", "output_hidden_states", "output_attentions", "use_cache",
      "torchscript", "gradient_checkpointing", "is_decoder", "is_encoder_decoder", "tie_encoder_decoder",
      "cross_attention_hidden_size", "chunk_size_feed_forward", "tf_legacy_loss", "xla_device", "tokenizer_class",
      "prefix", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
      // of classification and the like
      "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
      "classifier_dropout", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
      "summary_first_dropout",
      // of generation
      "max_length", "max_new_tokens", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
      "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
      "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
      "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
      "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "cache_implementation",
      // of the families: not read by transformers, or the same sums in another order
      "learned_pos_emb", "pretraining_tp", "reorder_and_upcast_attn", "verbose", "init_device", "init_config",
      "attn_impl"};
  return names;
}

/// Keeps a note of the keys that would be left out of account without a word.
void note_unread(const Keys& keys) {
  std::string names;
  for (const auto& name : keys.unread()) {
    if (bookkeeping().count(name.substr(name.rfind('.') + 1)) == 0) names += (names.empty() ? "" : ", ") + name;
  }
  if (!names.empty()) keys.note(names + ":", "not known here and left out of account");
}

/// Tells the notes of a file, each once however often the file is read.
void tell(const Keys& keys, const std::string& origin) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  for (const auto& note : keys.notes()) {
    if (told.insert(origin + ": " + note).second) std::cerr << "notice: " << origin << ": " << note << "\n";
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
  note_dropout(keys);
  note_unread(keys);
  tell(keys, origin);
  config.original = document;
  return config;
}

}  // namespace accordion
