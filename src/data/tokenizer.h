#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/special_tokens.h"

namespace accordion {

/// Text to ids and back. The ids are those of the `tokenizers` package (tokenizer.json) or of sentencepiece (.model);
/// special tokens written in a text are recognised, none are added. Copies share the vocabulary and keep their own
/// cache of words: one copy per thread.
class Tokenizer {
 public:
  /// `bytes` (257 ids: the byte's value, 256 = end of text), a `tokenizer.json`, a sentencepiece `.model`, or a folder
  /// that holds one (a corpus, a model directory). `end_of_text` (a token, or its id) ends documents whatever the files
  /// say; see find_special_tokens. UserError where there is none or it uses a part that is not supported.
  static Tokenizer load(const std::string& path, const std::string& end_of_text = "");
  Tokenizer(const Tokenizer& other);
  Tokenizer(Tokenizer&&) = default;

  /// Appends the ids of `text`, which must be valid UTF-8 (see repair_utf8).
  void encode(std::string_view text, std::vector<int32_t>& ids) const;
  /// The ids of any text; damaged UTF-8 is repaired first.
  std::vector<int64_t> encode(std::string_view text) const;

  /// Special tokens (end of text, ...) are left out; bytes that are not UTF-8 become U+FFFD.
  std::string decode(const std::vector<int64_t>& ids) const;

  int64_t vocabulary() const;   ///< largest id + 1
  int64_t end_of_text() const;  ///< id that ends every document; UserError where nothing says which
  const SpecialTokens& special_tokens() const;
  SpecialToken token(int64_t id) const;  ///< any token, with its name

  /// What goes before a prompt, or that nothing does, and who says so: `add_bos_token` of tokenizer_config.json, else
  /// the post-processor of tokenizer.json, else that a sentencepiece model has a begin token.
  struct Beginning {
    std::vector<int64_t> ids;
    std::string origin;
    bool chosen = false;  // by add_bos_token
  };
  const Beginning& beginning() const;
  const std::string& name() const;  ///< `bytes`, or the file's name
  const std::string& hash() const;  ///< of the file's content

  /// Writes the tokenizer's files into a model directory or corpus, so that load(folder) and Hugging Face find them and
  /// give the same ids: what lay beside it goes along as it was, but for what would say something else than the
  /// documents hold (their end; nothing before them). A sentencepiece model gets a tokenizer.json beside it; returns
  /// the kinds of text, if any, whose ids differ there.
  std::vector<std::string> save(const std::filesystem::path& folder) const;

  /// How a text may be cut before the space in `letter space letter` without changing its ids: the second part keeps
  /// the space, or drops it (tokenizers that put a space before every text themselves); none where no cut is safe.
  enum class Cut { none, keep_space, drop_space };
  Cut cut() const;

  struct Model;

 private:
  explicit Tokenizer(std::shared_ptr<Model> model);
  Cut find_cut() const;
  std::shared_ptr<const Model> model_;
  struct Cache;
  std::shared_ptr<Cache> cache_;
};

/// Decodes ids one at a time for streaming: text comes out as soon as it is complete UTF-8.
class StreamDecoder {
 public:
  /// `prompt`: ids that the text goes on from; they tell whether it begins with a space.
  explicit StreamDecoder(const Tokenizer& tokenizer, std::vector<int64_t> prompt = {})
      : tokenizer_(tokenizer), context_(std::move(prompt)) {}
  std::string add(int64_t id);  ///< the text that became complete
  std::string finish();         ///< what is left

 private:
  std::string take(const std::string& text);
  const Tokenizer& tokenizer_;
  std::vector<int64_t> context_, pending_;  // shown already, its end at least; not yet
};

}  // namespace accordion
