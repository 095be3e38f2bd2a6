#include "data/tokenizer_files.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/paths.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

using json = nlohmann::ordered_json;

// Files that say more about a tokenizer, or say it to other programs, and travel with it.
constexpr const char* kCompanions[] = {"tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "tokenizer.model"};
constexpr const char* kOwn = "accordion";  // our object inside tokenizer_config.json

json read_object(const fs::path& path) {
  if (!stands(path)) return json::object();
  auto read = json::parse(read_file(path), nullptr, false);
  return read.is_object() ? read : json::object();
}

/// Makes `key` name the token, where it names another or none.
void name_token(json& file, const char* key, const std::string& name) {
  auto& named = file[key];
  if (named.is_object() && named.contains("content"))
    named["content"] = name;  // what else the object says about matching stays
  else
    named = name;
}

json special_token(const SpecialToken& token) {
  return {{"content", token.name}, {"lstrip", false},      {"normalized", false},
          {"rstrip", false},       {"single_word", false}, {"special", true}};
}

/// What makes transformers read the tokenizer.json of a sentencepiece model as it is, and find no special token in a
/// text: the library does not.
void describe_model(json& config, const TokenizerFiles& files) {
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["split_special_tokens"] = true;
  auto& added = config["added_tokens_decoder"];
  if (!added.is_object()) added = json::object();
  for (const auto& token : files.controls) added[std::to_string(token.id)] = special_token(token);
  if (files.unknown.id >= 0) {
    added[std::to_string(files.unknown.id)] = special_token(files.unknown);
    config["unk_token"] = files.unknown.name;
  }
  config["add_bos_token"] = config["add_eos_token"] = false;
  config[kOwn] = {{"tokenizer_json", "made of tokenizer.model"}};
}

void adjust_config(json& config, const TokenizerFiles& files) {
  const bool fresh = config.empty();
  if (fresh) config["tokenizer_class"] = files.controls.empty() ? "PreTrainedTokenizerFast" : "LlamaTokenizer";
  if (files.special.end) name_token(config, "eos_token", files.special.end->name);
  if (fresh && files.special.begin) config["bos_token"] = files.special.begin->name;
  if (fresh) config["clean_up_tokenization_spaces"] = false;
  if (files.made_of_model) describe_model(config, files);
  const auto adds = [&](const char* key) { return config.value(key, json()) == true; };
  if (files.frames || adds("add_bos_token") || adds("add_eos_token"))
    config["add_bos_token"] = config["add_eos_token"] = false;
}

}  // namespace

/// The tokenizer `bytes` in the format of Hugging Face: 256 tokens without merges, and the end of text.
std::string bytes_as_json() {
  nlohmann::ordered_json vocabulary = nlohmann::json::object();
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    std::string token;
    append_character(token, printable ? byte : next++);
    vocabulary[token] = static_cast<int>(byte);
  }
  const nlohmann::ordered_json part = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  nlohmann::ordered_json end = {{"id", 256}, {"content", "<|endoftext|>"}, {"special", true}, {"normalized", false}};
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) end[flag] = false;
  nlohmann::ordered_json model = {{"type", "BPE"},
                                  {"dropout", nullptr},
                                  {"unk_token", nullptr},
                                  {"continuing_subword_prefix", nullptr},
                                  {"end_of_word_suffix", nullptr},
                                  {"fuse_unk", false},
                                  {"byte_fallback", false},
                                  {"ignore_merges", false},
                                  {"vocab", vocabulary},
                                  {"merges", nlohmann::ordered_json::array()}};
  return json_text(nlohmann::ordered_json{{"version", "1.0"},
                                          {"truncation", nullptr},
                                          {"padding", nullptr},
                                          {"added_tokens", nlohmann::ordered_json::array({end})},
                                          {"normalizer", nullptr},
                                          {"pre_tokenizer", part},
                                          {"post_processor", nullptr},
                                          {"decoder", part},
                                          {"model", model}});
}

bool is_tokenizer_file(const std::string& name) {
  return name == "tokenizer.json" || name == "tokenizer.model" ||
         std::find(std::begin(kCompanions), std::end(kCompanions), name) != std::end(kCompanions);
}

bool is_made_of_model(const fs::path& folder) {
  const auto config = read_object(folder / "tokenizer_config.json");
  return config.contains(kOwn) && config[kOwn].is_object() && config[kOwn].contains("tokenizer_json");
}

void write_tokenizer_files(const TokenizerFiles& files, const fs::path& folder) {
  const auto beside = [&](const char* name) { return files.source.empty() ? fs::path() : files.source / name; };
  for (const char* name : kCompanions)
    if (stands(beside(name)) && !stands(folder / name)) write_file(folder / name, read_file(beside(name)));

  const auto before = read_object(folder / "tokenizer_config.json");
  auto config = before;
  adjust_config(config, files);
  if (config != before) write_file(folder / "tokenizer_config.json", json_text(config, 2) + "\n");

  const auto map_before = read_object(folder / "special_tokens_map.json");
  auto map = map_before;
  if (files.special.end && map.contains("eos_token")) name_token(map, "eos_token", files.special.end->name);
  if (map != map_before) write_file(folder / "special_tokens_map.json", json_text(map, 2) + "\n");
}

void insist_on_tokenizer_class(const fs::path& folder) {
  auto config = read_object(folder / "tokenizer_config.json");
  const auto name = config.value("tokenizer_class", json());
  if (name == "Qwen2Tokenizer" || name == "Qwen2TokenizerFast" || config.contains("auto_map")) return;
  // A class of the user's own would be asked for by trust_remote_code; without that, tokenizer_class is taken.
  config["auto_map"] = {{"AutoTokenizer", {"tokenization.PreTrainedTokenizerFast", nullptr}}};
  write_file(folder / "tokenizer_config.json", json_text(config, 2) + "\n");
}

}  // namespace accordion
