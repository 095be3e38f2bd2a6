#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/bpe.h"

namespace accordion {

/// A sentencepiece `.model`: through Bpe where that gives the same ids (see sentencepiece_file.h), else through
/// sentencepiece's own library. Safe to use from many threads at once.
class SentencePieceModel {
 public:
  /// UserError where the file is damaged.
  explicit SentencePieceModel(const std::string& path);
  SentencePieceModel(SentencePieceModel&&) noexcept;
  ~SentencePieceModel();

  void encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;
  std::string decode(const std::vector<int64_t>& ids) const;
  int64_t vocabulary() const;
  std::optional<int64_t> begin_of_text() const, end_of_text() const;  ///< none where it was trained without
  std::optional<int64_t> unknown() const;
  std::optional<int64_t> id_of(const std::string& piece) const;
  std::string name_of(int64_t id) const;
  bool is_control(int64_t id) const;  ///< never made of text: <s>, </s>, ...

 private:
  struct Processor;
  std::unique_ptr<Processor> processor_;
};

/// Trains a byte-fallback BPE model of `vocabulary` pieces, with the settings of Llama's, and returns the content of
/// its `.model`. `texts` gives one text after another, and false at the end; a sample of a million lines is used.
/// Characters that make up the rarest 0.05 % of the text become bytes. UserError where the text is too small for that
/// vocabulary.
std::string train_sentencepiece(const std::function<bool(std::string&)>& texts, int64_t vocabulary);

}  // namespace accordion
