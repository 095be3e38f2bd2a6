#include "data/tokenizer.h"

#include <algorithm>
#include <variant>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/paths.h"
#include "data/hash.h"
#include "data/sentencepiece_json.h"
#include "data/sentencepiece_model.h"
#include "data/tokenizer_files.h"
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
  SpecialTokens special;
  Beginning beginning;
  Cut cut = Cut::none;
};

struct Tokenizer::Cache {
  WordCache words;
};

namespace {

fs::path file_of(const std::string& path) {
  if (!stands(path))
    throw UserError(
        path + ": no such tokenizer; give `bytes`, a tokenizer.json, a sentencepiece .model, or a folder with one");
  if (is_file(path)) return path;
  if (!is_folder(path))
    throw UserError(path + ": no regular file; a tokenizer is read more than once: save it to a file");
  const fs::path json = fs::path(path) / "tokenizer.json", model = fs::path(path) / "tokenizer.model";
  // Of a model and the tokenizer.json that was made of it, the model.
  if (stands(model) && (!stands(json) || is_made_of_model(path))) return model;
  if (stands(json)) return json;
  throw UserError(path + ": no tokenizer.json or tokenizer.model in this folder");
}

TokenNames names_of(const Tokenizer::Model& model) {
  TokenNames names;
  names.file = model.name;
  std::visit(
      [&](const auto& kind) {
        names.size = kind.vocabulary();
        names.id_of = [&kind](const std::string& token) { return kind.id_of(token); };
        names.name_of = [&kind](int64_t id) { return kind.name_of(id); };
      },
      model.kind);
  if (const auto* tokenizer = std::get_if<JsonTokenizer>(&model.kind)) {
    names.special = [tokenizer](int64_t id) { return tokenizer->is_special(id); };
    // A template may begin with the token that a text begins with; nothing else there tells which it is.
    if (const auto& before = tokenizer->frame().before; before.size() == 1) names.own_begin = before.front();
  } else {
    const auto& pieces = std::get<SentencePieceModel>(model.kind);
    names.special = [&pieces](int64_t id) { return pieces.is_control(id); };
    names.own_end = pieces.end_of_text();
    names.own_begin = pieces.begin_of_text();
  }
  return names;
}

Tokenizer::Beginning find_beginning(const Tokenizer::Model& model, const TokenizerFolder& beside) {
  const auto& begin = model.special.begin;
  const auto only = [&] { return begin ? std::vector<int64_t>{begin->id} : std::vector<int64_t>(); };
  if (const auto adds = beside.flag("add_bos_token"))
    return {*adds ? only() : std::vector<int64_t>(),
            std::string("tokenizer_config.json says add_bos_token: ") + (*adds ? "true" : "false"), true};
  if (const auto* tokenizer = std::get_if<JsonTokenizer>(&model.kind))
    return {tokenizer->frame().before, "the post-processor of " + model.name + " says so"};
  return {only(), model.name + " has a begin token"};
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<Model> model) : model_(model), cache_(std::make_shared<Cache>()) {
  model->cut = find_cut();
}

Tokenizer::Tokenizer(const Tokenizer& other) : model_(other.model_), cache_(std::make_shared<Cache>()) {}

Tokenizer Tokenizer::load(const std::string& path, const std::string& end_of_text) {
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
  const auto beside = bytes ? TokenizerFolder() : TokenizerFolder(file.parent_path());
  made->special = find_special_tokens(names_of(*made), beside, end_of_text);
  if (auto* tokenizer = std::get_if<JsonTokenizer>(&made->kind); tokenizer && made->special.end)
    tokenizer->make_special(made->special.end->id);
  made->beginning = find_beginning(*made, beside);
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

int64_t Tokenizer::end_of_text() const {
  if (!model_->special.end) throw UserError(no_end_of_text(names_of(*model_), model_->source.string()));
  return model_->special.end->id;
}

const SpecialTokens& Tokenizer::special_tokens() const { return model_->special; }
SpecialToken Tokenizer::token(int64_t id) const { return {id, names_of(*model_).name_of(id), model_->name}; }
const Tokenizer::Beginning& Tokenizer::beginning() const { return model_->beginning; }
const std::string& Tokenizer::name() const { return model_->name; }
const std::string& Tokenizer::hash() const { return model_->hash; }
Tokenizer::Cut Tokenizer::cut() const { return model_->cut; }

Tokenizer::Cut Tokenizer::find_cut() const {
  const auto* const json = std::get_if<JsonTokenizer>(&model_->kind);
  if (json && !json->safe_to_cut()) return Cut::none;
  // Tried rather than derived from the tokenizer's many switches.
  std::vector<std::pair<std::string, std::string>> samples{
      {"We the", "people of"}, {"x", "y\n\n  z"}, {"it's a", "b, c."}};
  for (char c = 'a'; c < 'z'; ++c) {  // a pattern may know some of the letters only
    const std::string small(1, c), capital(1, static_cast<char>(c - 'a' + 'A')), next(1, static_cast<char>(c + 1));
    samples.insert(samples.end(), {{small, next}, {capital, next}, {small, capital}, {capital, capital}});
  }
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

std::vector<std::string> Tokenizer::save(const fs::path& folder) const {
  const auto folder_of_source = model_->source.parent_path();
  TokenizerFiles files;
  files.special = model_->special;
  if (!model_->source.empty()) files.source = folder_of_source.empty() ? "." : folder_of_source;
  const auto content = model_->source.empty() ? model_->content : read_file(model_->source);
  std::vector<std::string> differences;
  if (const auto* tokenizer = std::get_if<JsonTokenizer>(&model_->kind)) {
    write_file(folder / "tokenizer.json", content);
    files.frames = !tokenizer->frame().empty();
  } else {
    const auto& pieces = std::get<SentencePieceModel>(model_->kind);
    write_file(folder / "tokenizer.model", content);
    SentencePieceAsJson json;
    const bool corpus = stands(files.source / "manifest.json") && is_made_of_model(files.source);
    if (corpus)  // made when the corpus was: a checkpoint need not wait for it again
      json.content = read_file(files.source / "tokenizer.json");
    else
      json = sentencepiece_as_json(content);
    differences = std::move(json.differences);
    if (!json.content.empty()) write_file(folder / "tokenizer.json", json.content);
    files.made_of_model = !json.content.empty();
    files.frames = pieces.begin_of_text().has_value();  // transformers' class for such models
    for (int64_t id = 0; id < pieces.vocabulary(); ++id)
      if (pieces.is_control(id)) files.controls.push_back({id, pieces.name_of(id), ""});
    if (const auto id = pieces.unknown()) files.unknown = {*id, pieces.name_of(*id), ""};
  }
  write_tokenizer_files(files, folder);
  return differences;
}

std::string StreamDecoder::take(const std::string& text) {
  const auto before = tokenizer_.decode(context_).size();
  const bool shown = !tokenizer_.decode(pending_).empty();
  // The context must decode to something, for its end tells whether the next token begins with a space.
  if (shown) context_.clear();
  context_.insert(context_.end(), pending_.begin(), pending_.end());
  pending_.clear();
  return text.substr(std::min(before, text.size()));
}

std::string StreamDecoder::add(int64_t id) {
  pending_.push_back(id);
  // A character may take several tokens; after this many, what there is will not become one.
  constexpr size_t kMostTokensOfACharacter = 8;
  auto both = context_;
  both.insert(both.end(), pending_.begin(), pending_.end());
  const auto text = tokenizer_.decode(both);
  if (text.ends_with("\xEF\xBF\xBD") && pending_.size() < kMostTokensOfACharacter) return "";
  return take(text);
}

std::string StreamDecoder::finish() {
  if (pending_.empty()) return "";
  auto both = context_;
  both.insert(both.end(), pending_.begin(), pending_.end());
  return take(tokenizer_.decode(both));
}

}  // namespace accordion
