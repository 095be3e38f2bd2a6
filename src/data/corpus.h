#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/hash.h"

namespace accordion {

/// The width of a token in a `.bin`, with the codes of Megatron's `.idx`.
enum class TokenType : uint8_t { int32 = 4, uint16 = 8 };

/// uint16 where every id fits (Megatron's bound of 65,500), else int32.
TokenType token_type_for(int64_t vocabulary);

/// One split of a corpus in the format of Megatron and GPT-NeoX, memory-mapped: `.bin` holds the tokens of all
/// documents one behind the other, `.idx` (MMIDIDX, version 1) their lengths. Opening costs one pass over the index,
/// and no token is read.
class Corpus {
 public:
  /// `prefix` without `.bin`/`.idx`. UserError where a file is missing, damaged, or the two do not belong together.
  explicit Corpus(const std::filesystem::path& prefix);

  int64_t documents() const { return static_cast<int64_t>(starts_.size()) - 1; }
  int64_t tokens() const { return starts_.back(); }
  int64_t length(int64_t document) const { return start(document + 1) - start(document); }
  /// Position of the document's first token among all tokens of the split; start(documents()) = tokens().
  int64_t start(int64_t document) const { return starts_[static_cast<size_t>(document)]; }
  /// Tokens [from, from + out.size()) of the split, counted across documents.
  void read(int64_t from, std::span<int64_t> out) const;
  TokenType type() const { return type_; }
  const std::string& index_hash() const { return index_hash_; }

 private:
  MappedFile bin_;
  TokenType type_;
  std::vector<int64_t> starts_;  // of each document, then the number of tokens
  std::string index_hash_;
};

/// Writes one split as a stream: O(documents) memory, whatever the number of tokens.
class CorpusWriter {
 public:
  CorpusWriter(std::filesystem::path prefix, TokenType type);
  /// Adds tokens to the open document.
  void add(std::span<const int32_t> tokens);
  /// Ends the open document and returns its length.
  int64_t end_document();
  /// Moves the last document into `other`; only close() may follow here.
  void move_last_document(CorpusWriter& other);
  /// Writes the index.
  void close();

  int64_t documents() const { return static_cast<int64_t>(lengths_.size()); }
  int64_t tokens() const { return tokens_; }
  /// Counts, content hash and a histogram of document lengths by powers of two, for the manifest.
  nlohmann::json summary() const;

 private:
  std::filesystem::path prefix_;
  TokenType type_;
  OutputFile bin_;
  std::vector<int64_t> lengths_;  // of the documents
  int64_t tokens_ = 0;            // of whole documents
  int64_t open_ = 0;              // of the open document
  Hash hash_, hash_before_last_;  // of the tokens; without the last document's
  std::vector<uint16_t> narrow_;
};

/// The manifest of a corpus folder; UserError where the folder is none.
nlohmann::json read_manifest(const std::filesystem::path& folder);

/// A split (`train`, `validation`) of a corpus folder; a path that is the prefix of a `.bin`/`.idx` pair, as GPT-NeoX
/// writes them, is that pair whatever the split.
Corpus open_split(const std::filesystem::path& corpus, const std::string& split);

}  // namespace accordion
