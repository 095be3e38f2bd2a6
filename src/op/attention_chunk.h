#pragma once

#include <cstdint>
#include <memory>

#include "op/attention.h"
#include "op/torch.h"

namespace accordion::op {

/// Keys and values of one row while its queries go through attention chunk by chunk, and the sums of their gradients.
/// In the forward pass chunks come in order, and each leaves its keys and values here. In the backward pass `replay` is
/// true, the keys are all here from the start, and chunks come from the last to the first: when a chunk's own backward
/// runs, every query that sees its keys has added to their gradients. (StreamBP, Luo et al. 2025, section 3, with the
/// gradients of keys and values summed in f32.)
struct KeyedRow {
  struct Sizes {
    int64_t T, H, K, E;
  };
  /// `options` are those of the keys.
  KeyedRow(const Sizes& sizes, const torch::TensorOptions& options);

  /// Leaves keys k and values v (1,C,K,E) at the places [begin, begin + C).
  void put(const torch::Tensor& k, const torch::Tensor& v, int64_t begin);
  /// Makes room for attention's output and lse: the forward pass will leave them here.
  void keep_output();
  /// Makes room for the gradients, all zeros; from here on chunks are replayed.
  void begin_backward();

  Sizes sizes;
  torch::Tensor keys, values;    ///< (1,T,K,E)
  torch::Tensor dkeys, dvalues;  ///< (1,K,T rounded up to 64,E), f32 or f64
  torch::Tensor output, lse;     ///< (1,T,H,E), (1,H,T): kept for the replay, which then does not attend again
  bool replay = false;
};

/// Attention of the queries [begin, begin + C) of a row: q (1,C,H,E), k and v (1,C,K,E) of the same tokens ->
/// (1,C,H,E). `first` (1,T) is first_keys() of the whole row. In a replay the values of k and v are not read: they are
/// in `row`. Holds q, the output and lse of the chunk; the backward adds to the row's sums and gives k and v their part
/// of them.
torch::Tensor attention_chunk(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, int64_t begin,
                              const torch::Tensor& first, const AttentionForm& form,
                              const std::shared_ptr<KeyedRow>& row);

}  // namespace accordion::op
