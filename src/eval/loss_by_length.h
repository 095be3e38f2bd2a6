#pragma once

#include <cstdint>
#include <map>
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
};

/// The rows [first, first + count) of a batch as tensors on the model's device.
struct Rows {
  torch::Tensor ids, targets;  // (B,T) int64
  Pass pass;
};
Rows take_rows(const Batch& batch, int64_t first, int64_t count, const PassForm& form, torch::Device device);

/// Loss on the same validation tokens at several lengths, independent of the length that training is at.
class LossByLength {
 public:
  /// Reads the first `tokens` tokens of the corpus's validation split (rounded down to a multiple of the longest
  /// length, at least one row of it) once. UserError where the split is shorter than the longest length.
  LossByLength(const std::string& corpus, std::vector<int64_t> lengths, int64_t tokens, const PassForm& form);

  /// Loss at one of the lengths. Costs a forward pass over the tokens; the logits are never held whole.
  LengthLoss evaluate(const Transformer& model, int64_t length) const;

  const std::vector<int64_t>& lengths() const { return lengths_; }

 private:
  std::vector<int64_t> lengths_;
  std::map<int64_t, std::vector<Batch>> batches_;
  PassForm form_;
};

}  // namespace accordion
