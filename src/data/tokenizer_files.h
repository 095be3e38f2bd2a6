#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/special_tokens.h"

namespace accordion {

/// The tokenizer `bytes` in the format of Hugging Face: 256 tokens without merges, and <|endoftext|>. It gives a text's
/// own bytes in any of the libraries that read the format.
std::string bytes_as_json();

/// Whether Tokenizer::save writes files of this name.
bool is_tokenizer_file(const std::string& name);

/// Whether the tokenizer.json of a folder was made of the tokenizer.model beside it.
bool is_made_of_model(const std::filesystem::path& folder);

/// What goes with a tokenizer's own file into a folder.
struct TokenizerFiles {
  std::filesystem::path source;  ///< the folder it came from, whose files go along; empty for none
  SpecialTokens special;
  bool frames = false;                 ///< it would put tokens around a text, which documents do not have
  bool made_of_model = false;          ///< its tokenizer.json was made of its tokenizer.model
  std::vector<SpecialToken> controls;  ///< control pieces of a sentencepiece model
  SpecialToken unknown;                ///< its unknown piece
};

/// Copies the files that lay beside the tokenizer. tokenizer_config.json (written where there was none) and
/// special_tokens_map.json are changed where they say something else than `files`: another end, tokens around a text, a
/// class that transformers would build anew from the pieces of a sentencepiece model instead of reading tokenizer.json.
void write_tokenizer_files(const TokenizerFiles& files, const std::filesystem::path& folder);

/// For a folder of a model of which transformers 5 takes the tokenizer's class from the kind of model (qwen2), whatever
/// tokenizer_config.json says, and builds its own of the pieces: makes it take the class that stands there.
void insist_on_tokenizer_class(const std::filesystem::path& folder);

}  // namespace accordion
