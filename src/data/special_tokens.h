#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace accordion {

/// A token with a meaning of its own, and who says that it has it.
struct SpecialToken {
  int64_t id = -1;
  std::string name;    ///< as the vocabulary writes it
  std::string origin;  ///< the file, or `--eos`
  /// `</s> (2)`, on one line whatever the name holds.
  std::string text() const;
};

/// What finding special tokens asks of a vocabulary.
struct TokenNames {
  std::function<std::optional<int64_t>(const std::string&)> id_of;
  std::function<std::string(int64_t)> name_of;
  std::function<bool(int64_t)> special;  ///< an added token that is marked special, or a control piece
  int64_t size = 0;
  std::string file;                           ///< the tokenizer's own file, for messages
  std::optional<int64_t> own_end, own_begin;  ///< that the file itself names: a sentencepiece model does
};

/// The JSON files that may lie beside a tokenizer; an empty object where there is none.
struct TokenizerFolder {
  nlohmann::json manifest, tokenizer_config, special_tokens_map, config, generation_config;
  TokenizerFolder() = default;
  /// UserError where one of them is no JSON object.
  explicit TokenizerFolder(const std::filesystem::path& folder);
  /// A flag of tokenizer_config.json; UserError where it is neither true, false nor null.
  std::optional<bool> flag(const char* key) const;

 private:
  std::filesystem::path folder_;
};

struct SpecialTokens {
  std::optional<SpecialToken> end;    ///< ends every document
  std::optional<SpecialToken> begin;  ///< that the family puts before a text, whether or not documents have it
  std::optional<SpecialToken> padding;
  std::vector<std::string> notices;  ///< of files that say something else, or what cannot be
};

/// Finds them. The end of documents is the first of: `chosen` (a token, or its id); the corpus's manifest.json;
/// eos_token of tokenizer_config.json and of special_tokens_map.json; eos_token_id (the first of a list) of config.json
/// and of generation_config.json, where that is a special token; the one that the tokenizer's own file names; a special
/// token of a known name. An ordinary entry of the vocabulary is one only where it is chosen or named by its text, as
/// in transformers. UserError where `chosen` is no token, or a file is not as it should be.
SpecialTokens find_special_tokens(const TokenNames& names, const TokenizerFolder& folder, const std::string& chosen);

/// The refusal where nothing says which token ends documents.
std::string no_end_of_text(const TokenNames& names, const std::string& where);

}  // namespace accordion
