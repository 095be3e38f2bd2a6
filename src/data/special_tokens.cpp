#include "data/special_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

using nlohmann::json;

constexpr const char* kEndNames[] = {"<|endoftext|>", "<|end_of_text|>", "</s>",
                                     "<eos>",         "<EOS>",           "[EOS]",
                                     "<|eos|>",       "<|EOS|>",         "<\uff5cend\u2581of\u2581sentence\uff5c>"};
constexpr const char* kBeginNames[] = {
    "<s>",   "<|begin_of_text|>", "<bos>",           "<BOS>",
    "[BOS]", "<|bos|>",           "<|startoftext|>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>"};

/// A token by its text: a string, or an AddedToken object with `content`; empty where the key is absent or null.
std::string named_token(const json& file, const std::string& where, const char* key) {
  const auto found = file.find(key);
  if (found == file.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string())
    return (*found)["content"].get<std::string>();
  throw UserError(where + ": " + key + ": must be a string, or an object with a string 'content'");
}

/// Ids of a config.json: one, or a list; empty where the key is absent or null.
std::vector<int64_t> named_ids(const json& file, const std::string& where, const char* key) {
  const auto found = file.find(key);
  if (found == file.end() || found->is_null()) return {};
  std::vector<int64_t> ids;
  for (const auto& id : found->is_array() ? *found : json::array({*found})) {
    if (!id.is_number_integer()) throw UserError(where + ": " + key + ": must be a token's id, or a list of ids");
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

class Finder {
 public:
  Finder(const TokenNames& names, const TokenizerFolder& folder) : names_(names), folder_(folder) {}

  SpecialTokens find(const std::string& chosen) {
    SpecialTokens found;
    if (!chosen.empty())
      found.end = chosen_end(chosen);
    else if (const auto& end = folder_.manifest.find("end_of_text"); end != folder_.manifest.end())
      found.end = token(end->is_number_integer() ? end->get<int64_t>() : -1, "manifest.json");
    const bool decided = found.end.has_value();
    const auto ends = candidates("eos_token", "eos_token_id", names_.own_end, kEndNames);
    if (!found.end && !ends.empty()) found.end = ends.front().front();
    note_conflicts(ends);
    if (!decided) found.notices = std::move(notices_);  // of the end alone: only it goes into the corpus
    const auto begins = candidates("bos_token", "bos_token_id", names_.own_begin, kBeginNames);
    if (!begins.empty()) found.begin = begins.front().front();
    found.padding = by_text("pad_token");
    return found;
  }

 private:
  std::optional<SpecialToken> token(int64_t id, const std::string& origin) const {
    auto name = id < 0 || id >= names_.size ? "" : names_.name_of(id);
    if (name.empty()) return {};  // beyond the vocabulary, or a hole in it
    return SpecialToken{id, std::move(name), origin};
  }

  SpecialToken chosen_end(const std::string& chosen) const {
    const bool number = chosen.find_first_not_of("0123456789") == std::string::npos && chosen.size() < 10;
    auto id = number ? std::optional<int64_t>(std::stoll(chosen)) : names_.id_of(chosen);
    const auto found = id ? token(*id, "--eos") : std::nullopt;
    if (!found)
      throw UserError("--eos " + chosen + ": the tokenizer has no such token, nor such an id; it has ids below " +
                      std::to_string(names_.size));
    return *found;
  }

  /// By its text in the two files that do so, the first that is not null.
  std::optional<SpecialToken> by_text(const char* key) {
    for (const auto& [file, name] : {std::pair{&folder_.tokenizer_config, "tokenizer_config.json"},
                                     std::pair{&folder_.special_tokens_map, "special_tokens_map.json"}}) {
      const auto text = named_token(*file, name, key);
      if (text.empty()) continue;
      if (const auto id = names_.id_of(text)) return token(*id, name);
    }
    return {};
  }

  /// All that say which token it is, in the order of precedence; each with what else it allows.
  template <class KnownNames>
  std::vector<std::vector<SpecialToken>> candidates(const char* key, const char* id_key, std::optional<int64_t> own,
                                                    const KnownNames& known) {
    std::vector<std::vector<SpecialToken>> all;
    const auto add = [&](int64_t id, const std::string& origin) {
      if (const auto found = token(id, origin)) all.push_back({*found});
      return !all.empty();
    };
    for (const auto& [file, name] : {std::pair{&folder_.tokenizer_config, "tokenizer_config.json"},
                                     std::pair{&folder_.special_tokens_map, "special_tokens_map.json"}}) {
      const auto text = named_token(*file, name, key);
      if (text.empty()) continue;
      const auto id = names_.id_of(text);
      if (id)
        add(*id, name);
      else
        notices_.push_back(std::string(name) + " names " + text + " as " + key + ", which the tokenizer does not have");
    }
    for (const auto& [file, name] :
         {std::pair{&folder_.config, "config.json"}, std::pair{&folder_.generation_config, "generation_config.json"}}) {
      std::vector<SpecialToken> allowed;
      for (const auto id : named_ids(*file, name, id_key)) {
        const auto found = token(id, name);
        if (found && names_.special(id))
          allowed.push_back(*found);
        else
          notices_.push_back(std::string(name) + " names " + std::to_string(id) + " as " + id_key +
                             ", which is no special token of the tokenizer");
      }
      if (!allowed.empty()) all.push_back(allowed);
    }
    if (own) add(*own, names_.file);
    if (all.empty()) {
      for (const char* name : known) {
        const auto id = names_.id_of(name);
        if (id && names_.special(*id) && add(*id, names_.file)) break;
      }
    }
    return all;
  }

  void note_conflicts(const std::vector<std::vector<SpecialToken>>& ends) {
    for (const auto& others : ends) {
      const auto& chosen = ends.front().front();
      if (std::any_of(others.begin(), others.end(), [&](const auto& other) { return other.id == chosen.id; })) continue;
      notices_.push_back(others.front().origin + " says " + others.front().text() + " instead");
    }
    if (!ends.empty() && ends.front().size() > 1)
      notices_.push_back(ends.front().front().origin + " has a list, whose first is taken");
  }

  const TokenNames& names_;
  const TokenizerFolder& folder_;
  std::vector<std::string> notices_;
};

json object_of(const fs::path& path) {
  if (!stands(path)) return json::object();
  auto read = json::parse(read_file(path), nullptr, false);
  if (!read.is_object()) throw UserError(path.string() + ": not a JSON object; fetch the file again, or remove it");
  return read;
}

}  // namespace

std::string SpecialToken::text() const {
  auto quoted = json_text(json(name));
  if (quoted.size() == name.size() + 2) quoted = name;  // nothing to escape
  return quoted + " (" + std::to_string(id) + ")";
}

TokenizerFolder::TokenizerFolder(const fs::path& folder)
    : manifest(object_of(folder / "manifest.json")),
      tokenizer_config(object_of(folder / "tokenizer_config.json")),
      special_tokens_map(object_of(folder / "special_tokens_map.json")),
      config(object_of(folder / "config.json")),
      generation_config(object_of(folder / "generation_config.json")),
      folder_(folder) {
  if (manifest.value("format", json()) != "accordion corpus") manifest = json::object();
}

std::optional<bool> TokenizerFolder::flag(const char* key) const {
  const auto found = tokenizer_config.find(key);
  if (found == tokenizer_config.end() || found->is_null()) return {};
  if (!found->is_boolean())
    throw UserError((folder_ / "tokenizer_config.json").string() + ": " + key + ": must be true or false");
  return found->get<bool>();
}

SpecialTokens find_special_tokens(const TokenNames& names, const TokenizerFolder& folder, const std::string& chosen) {
  return Finder(names, folder).find(chosen);
}

std::string no_end_of_text(const TokenNames& names, const std::string& where) {
  std::string special;
  int listed = 0;
  for (int64_t id = 0; id < names.size && listed < 8; ++id) {
    if (!names.special(id)) continue;
    special += (listed++ == 0 ? "" : ", ") + SpecialToken{id, names.name_of(id), ""}.text();
  }
  return where + ": nothing says which token ends documents; name it with --eos TOKEN or --eos ID" +
         (listed > 0 ? "; its special tokens: " + special + (listed == 8 ? ", ..." : "") : "");
}

}  // namespace accordion
