#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <variant>

#include "base/error.h"
#include "base/files.h"
#include "data/hash.h"
#include "data/sentencepiece_model.h"
#include "data/tokenizer_json.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {

struct Tokenizer::Model {
  explicit Model(std::variant<JsonTokenizer, SentencePieceModel> read) : kind(std::move(read)) {}
  std::variant<JsonTokenizer, SentencePieceModel> kind;
  fs::path source;      // the file, or empty where `content` is all there is
  std::string content;  // of tokenizer.json, for `bytes`
  std::string name, hash;
  int64_t end_of_text = -1;
  std::optional<int64_t> begin_of_text;
  Cut cut = Cut::none;
};

struct Tokenizer::Cache {
  WordCache words;
};

namespace {

// Files that say more about a tokenizer (its special tokens, its chat template) and travel with it.
constexpr std::array kCompanions{"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                                 "chat_template.jinja"};

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
  return nlohmann::ordered_json{{"version", "1.0"},
                                {"truncation", nullptr},
                                {"padding", nullptr},
                                {"added_tokens", nlohmann::ordered_json::array({end})},
                                {"normalizer", nullptr},
                                {"pre_tokenizer", part},
                                {"post_processor", nullptr},
                                {"decoder", part},
                                {"model", model}}
      .dump();
}

/// The content of a special token in tokenizer_config.json beside the file: a string, or an object with `content`.
std::string configured_token(const fs::path& folder, const char* key) {
  const auto path = folder / "tokenizer_config.json";
  if (!fs::exists(path)) return "";
  const auto config = nlohmann::json::parse(read_file(path), nullptr, false);
  if (!config.is_object() || !config.contains(key)) return "";
  const auto& token = config[key];
  if (token.is_string()) return token.get<std::string>();
  return token.is_object() ? token.value("content", "") : "";
}

/// The token that ends documents: what pretraining uses, which is not always the `eos_token` of an instruct model.
int64_t find_end_of_text(const JsonTokenizer& tokenizer, const fs::path& folder, const std::string& where) {
  for (const std::string token : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"})
    if (const auto id = tokenizer.id_of(token)) return *id;
  if (const auto id = tokenizer.id_of(configured_token(folder, "eos_token"))) return *id;
  throw UserError(
      where +
      ": it has no end-of-text token (<|endoftext|>, <|end_of_text|>, </s>, <eos>); name it as eos_token in a "
      "tokenizer_config.json beside it");
}

fs::path file_of(const std::string& path) {
  if (!fs::exists(path))
    throw UserError(
        path + ": no such tokenizer; give `bytes`, a tokenizer.json, a sentencepiece .model, or a folder with one");
  if (!fs::is_directory(path)) return path;
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (fs::exists(fs::path(path) / name)) return fs::path(path) / name;
  throw UserError(path + ": no tokenizer.json or tokenizer.model in this folder");
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<Model> model) : model_(model), cache_(std::make_shared<Cache>()) {
  model->cut = find_cut();
}

Tokenizer::Tokenizer(const Tokenizer& other) : model_(other.model_), cache_(std::make_shared<Cache>()) {}

Tokenizer Tokenizer::load(const std::string& path) {
  const bool bytes = path == "bytes";
  const auto file = bytes ? fs::path() : file_of(path);
  auto content = bytes ? bytes_as_json() : read_file(file);
  const auto first = content.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && content[first] == '{';
  const auto description = json ? nlohmann::json::parse(content, nullptr, false) : nlohmann::json();
  if (description.is_discarded()) throw UserError(path + ": not valid JSON; fetch the file again");

  auto made = std::make_shared<Model>(json ? Model(JsonTokenizer(description, path))
                                           : Model(SentencePieceModel(file.string())));
  Hash hash;
  hash.add(content);
  made->hash = hash.text();
  made->source = file;
  made->name = bytes ? "bytes" : file.filename().string();
  if (const auto* tokenizer = std::get_if<JsonTokenizer>(&made->kind)) {
    made->end_of_text = find_end_of_text(*tokenizer, file.parent_path(), path);
    made->begin_of_text = tokenizer->begin_of_text();
  } else {
    const auto& model = std::get<SentencePieceModel>(made->kind);
    if (!model.end_of_text()) throw UserError(path + ": it has no end-of-text piece (</s>); train it with one");
    made->end_of_text = *model.end_of_text();
    made->begin_of_text = model.begin_of_text();
  }
  if (bytes) made->content = std::move(content);
  return Tokenizer(std::move(made));
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::visit([&](const auto& kind) { kind.encode(text, cache_->words, ids); }, model_->kind);
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  std::string valid(text);
  repair_utf8(valid);
  encode(valid, ids);
  return {ids.begin(), ids.end()};
}

std::string Tokenizer::decode(const std::vector<int64_t>& ids) const {
  return std::visit([&](const auto& kind) { return kind.decode(ids); }, model_->kind);
}

int64_t Tokenizer::vocabulary() const {
  return std::visit([](const auto& kind) { return kind.vocabulary(); }, model_->kind);
}

int64_t Tokenizer::end_of_text() const { return model_->end_of_text; }
std::optional<int64_t> Tokenizer::begin_of_text() const { return model_->begin_of_text; }
const std::string& Tokenizer::name() const { return model_->name; }
const std::string& Tokenizer::hash() const { return model_->hash; }
Tokenizer::Cut Tokenizer::cut() const { return model_->cut; }

Tokenizer::Cut Tokenizer::find_cut() const {
  // Tried rather than derived from the tokenizer's many switches.
  const std::vector<std::pair<std::string, std::string>> samples{
      {"We the", "people of"}, {"x", "y\n\n  z"}, {"it's a", "b, c."}};
  for (const auto cut : {Cut::keep_space, Cut::drop_space}) {
    const bool exact = std::all_of(samples.begin(), samples.end(), [&](const auto& sample) {
      auto parts = encode(sample.first);
      const auto second = encode((cut == Cut::keep_space ? " " : "") + sample.second);
      parts.insert(parts.end(), second.begin(), second.end());
      return parts == encode(sample.first + " " + sample.second);
    });
    if (exact) return cut;
  }
  return Cut::none;
}

void Tokenizer::save(const fs::path& folder) const {
  const bool json = std::holds_alternative<JsonTokenizer>(model_->kind);
  write_file(folder / (json ? "tokenizer.json" : "tokenizer.model"),
             model_->source.empty() ? model_->content : read_file(model_->source));
  for (const char* name : kCompanions) {
    const auto companion = model_->source.parent_path() / name;
    if (!model_->source.empty() && fs::exists(companion)) write_file(folder / name, read_file(companion));
  }
  if (fs::exists(folder / "tokenizer_config.json")) return;
  nlohmann::ordered_json config = {{"tokenizer_class", json ? "PreTrainedTokenizerFast" : "LlamaTokenizer"}};
  if (const auto* tokenizer = std::get_if<JsonTokenizer>(&model_->kind)) {
    config["eos_token"] = tokenizer->token_of(end_of_text());
    if (begin_of_text()) config["bos_token"] = tokenizer->token_of(*begin_of_text());
  }
  config["clean_up_tokenization_spaces"] = false;
  write_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

std::string StreamDecoder::add(int64_t id) {
  pending_.push_back(id);
  // A character may take several tokens; after this many, what there is will not become one.
  constexpr size_t kMostTokensOfACharacter = 8;
  auto both = context_;
  both.insert(both.end(), pending_.begin(), pending_.end());
  const auto text = tokenizer_.decode(both);
  if (text.ends_with("\xEF\xBF\xBD") && pending_.size() < kMostTokensOfACharacter) return "";
  const auto before = tokenizer_.decode(context_).size();
  context_ = std::exchange(pending_, {});
  return text.substr(std::min(before, text.size()));
}

std::string StreamDecoder::finish() {
  if (pending_.empty()) return "";
  auto both = context_;
  both.insert(both.end(), pending_.begin(), pending_.end());
  const auto before = tokenizer_.decode(context_).size();
  const auto text = tokenizer_.decode(both);
  pending_.clear();
  return text.substr(std::min(before, text.size()));
}

}  // namespace accordion
