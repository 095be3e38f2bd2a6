#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/text_format.h"

namespace accordion {

struct TrainTokenizerOptions {
  std::vector<std::string> inputs;  // as those of prepare
  std::string out, text_field = "text", glob;
  InputKind input_kind = InputKind::automatic;
  int64_t vocabulary = 0;
};

/// Trains a byte-fallback BPE tokenizer with sentencepiece on a sample of a million lines of the inputs and writes it
/// to the folder `out` (tokenizer.model). UserError as prepare, and where the text is too small for the vocabulary.
void train_tokenizer(const TrainTokenizerOptions& options,
                     const std::function<void(double bytes, double total)>& progress);

}  // namespace accordion
