#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/transformer.h"

namespace accordion {

struct LengthLoss {
  int64_t length = 0;
  double loss = 0;  ///< mean cross-entropy a token, in nats
  int64_t tokens = 0;
};

/// How rows go through the model, in training and evaluation alike.
struct PassForm {
  bool document_mask = false;
  bool restart_positions = false;
  MemoryRecipe memory = {};                        ///< mini-sequences and recomputation
  std::shared_ptr<memory::LayerStore> store = {};  ///< where layer inputs wait for the backward pass; null = in place
};

/// The rows [first, first + count) of a batch as tensors on the model's device, and the pass that they take.
struct Rows {
  torch::Tensor ids, targets;  // (B,T) int64
  Pass pass;
};
Rows take_rows(const Batch& batch, int64_t first, int64_t count, const PassForm& form, const Transformer& model);

/// Loss on the same validation tokens at several lengths, independent of the length that training is at.
class LossByLength {
 public:
  /// Reads the first `tokens` tokens of the corpus's validation split once, or what it holds (validation_tokens).
  /// UserError where it is empty, or `tokens` is less than a row of the longest length.
  LossByLength(const std::string& corpus, std::vector<int64_t> lengths, int64_t tokens, const PassForm& form);

  /// UserError where the model cannot be evaluated so: ids outside of its vocabulary, rows beyond its learned
  /// positions.
  void check(const ModelConfig& model) const;

  /// Loss at one of the lengths. Costs a forward pass over the tokens; the logits are never held whole. None where a
  /// signal asked to stop (stop_signal()): before the next batch, or within one that goes on for more than 5 seconds.
  std::optional<LengthLoss> evaluate(const Transformer& model, int64_t length) const;

  const std::vector<int64_t>& lengths() const { return lengths_; }
  /// What a person should know where the split holds less than was asked for; "" otherwise.
  const std::string& note() const { return note_; }

 private:
  std::string corpus_;
  std::vector<int64_t> lengths_;
  std::map<int64_t, std::vector<Batch>> batches_;
  PassForm form_;
  std::string note_;
};

}  // namespace accordion
