#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe.h"
#include "data/normalizer.h"
#include "data/post_processor.h"
#include "data/split.h"

namespace accordion {

/// The `added_tokens` of a tokenizer.json that are looked for at one stage, in a trie over bytes: longest match first.
class AddedTokens {
 public:
  struct Token {
    std::string content;
    int32_t id;
    bool strip_left, strip_right;
  };
  void add(Token token);
  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin, end;  // with the white space that the token strips
    size_t next;        // where to look for the next one: a token may begin in the white space that this one strips
    int32_t id;
  };
  /// The first match in `text` at or after `from`; strips no further to the left than `taken`.
  std::optional<Match> find(std::string_view text, size_t from, size_t taken) const;

 private:
  struct Node {
    std::unordered_map<char, uint32_t> next;
    int32_t token = -1;
  };
  std::vector<Node> nodes_{1};
  std::vector<Token> tokens_;
  std::array<bool, 256> starts_{};
};

/// Hugging Face's tokenizer.json with a BPE model: added tokens, normalizer, pre-tokenizer, merges.
class JsonTokenizer {
 public:
  /// UserError, naming `where`, for parts that are not supported.
  JsonTokenizer(const nlohmann::json& description, const std::string& where);

  void encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
  std::string decode(const std::vector<int64_t>& ids) const;

  int64_t vocabulary() const { return static_cast<int64_t>(bytes_of_.size()); }
  std::optional<int64_t> id_of(std::string_view token) const;
  std::string name_of(int64_t id) const;  ///< as the file writes it; O(vocabulary)
  bool is_special(int64_t id) const { return special_[static_cast<size_t>(id)]; }
  /// Makes an ordinary token special, as transformers does with what a tokenizer_config.json names: it is found in
  /// texts by its name, and left out by decode.
  void make_special(int64_t id);
  const Frame& frame() const { return frame_; }  ///< what the post-processor puts around a text
  /// Whether no token and no pattern can reach over the place before the space in `letter space letter` (see
  /// Regex::safe_to_cut).
  bool safe_to_cut() const;

 private:
  /// A step of the pre-tokenizer: cuts at a pattern, or (without one) puts a space before a piece that has none.
  using Stage = std::optional<Split>;
  void read_model(const nlohmann::json& model, const std::string& where);
  void read_added_tokens(const nlohmann::json& tokens, const std::string& where);
  void read_pre_tokenizer(const nlohmann::json& description, const std::string& where);
  void read_decoder(const nlohmann::json& description);
  void encode_normalized(std::string_view text, bool first, WordCache& cache, std::vector<int32_t>& ids) const;
  void encode_segment(std::string_view text, bool first, WordCache& cache, std::vector<int32_t>& ids) const;
  void encode_from(size_t stage, std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;

  Bpe bpe_;
  Normalizer normalizer_;
  AddedTokens added_raw_, added_normalized_;  // looked for before and after the normalizer
  std::vector<Stage> stages_;
  bool byte_level_ = false;
  std::string space_mark_;  // Metaspace: what a space becomes; empty = there is none
  enum class Prepend { never, first, always } prepend_ = Prepend::never;  // the mark before a text
  StringMap<int32_t> ids_;             // of all tokens, as they are written in the file
  std::vector<std::string> bytes_of_;  // what each id decodes to
  std::vector<bool> special_;
  bool strip_first_space_ = false;
  Frame frame_;
};

}  // namespace accordion
