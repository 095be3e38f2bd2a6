#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "recipe/recipe.h"

namespace accordion {

/// The rows of one optimizer step.
struct Batch {
  int64_t rows = 0, length = 0;
  std::vector<int64_t> inputs, targets;      // (rows, length); targets[i] follows inputs[i]
  std::vector<std::vector<int64_t>> pieces;  // of each row: lengths of its documents' pieces, summing up to `length`
  int64_t read = 0;        // tokens taken from the stream: rows * length, more where tails are dropped
  bool new_epoch = false;  // the stream passed the corpus's end while reading this batch
  int64_t epoch = 0;       // epoch that the last token belongs to, from 0
};

/// The training stream: documents one behind the other, cut into rows of any length at read time. Each row takes the
/// next T tokens as inputs and the same shifted by one as targets; the next row begins where it ended, whatever its
/// length, so no token is lost or repeated when the length changes. With several sources, whole documents are drawn so
/// that each source's share of the tokens follows its weight; an epoch then is as many tokens as all sources hold
/// together.
class Loader {
 public:
  /// `sources` as in data.train. UserError where a corpus is missing or damaged, or sources' tokenizers differ.
  Loader(const std::vector<Source>& sources, bool shuffle, int64_t seed);
  ~Loader();
  Loader(Loader&&) noexcept;

  /// The next rows. With `read_length` > length (apply: truncate) each row takes read_length tokens of the stream and
  /// keeps the first `length`; `eos` >= 0 then becomes the last target of each cut row (preserve_eos).
  Batch next(int64_t rows, int64_t length, int64_t read_length = 0, int64_t eos = -1);

  /// Everything that the position in the stream consists of; restore() brings back the same tokens bit by bit.
  nlohmann::json cursor() const;
  void restore(const nlohmann::json& cursor);

  /// The model's vocabulary: from now on a token of a corpus without a manifest that lies outside it is a UserError.
  void expect_ids_below(int64_t vocabulary);

  int64_t tokens() const;      ///< of one epoch, all sources
  int64_t vocabulary() const;  ///< of the corpora's tokenizer; 0 where a corpus without a manifest does not say
  /// What must not change under a resumed run: for each source its path, tokens, documents and the hash in its
  /// manifest.
  nlohmann::json fingerprint() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// How many of the validation split's first tokens an evaluation uses: `tokens`, or what the split holds, rounded down
/// to a multiple of the longest length so that every length divides it. Fewer than `longest` only where the split is
/// smaller than one such row; then all of it. UserError where the split is empty.
int64_t validation_tokens(const std::string& corpus, int64_t tokens, int64_t longest);

/// The validation rows of one evaluation length: the first `tokens` (see validation_tokens) tokens of the validation
/// split in corpus order, `rows` rows a batch, the same tokens whatever the length; rows never depend on training.
/// Where `length` does not divide `tokens`, the last batch is one shorter row.
std::vector<Batch> validation_batches(const std::string& corpus, int64_t length, int64_t tokens, int64_t rows);

}  // namespace accordion
