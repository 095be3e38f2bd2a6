#pragma once

#include <cstdint>
#include <vector>

#include "op/torch.h"

namespace accordion::op {

/// Lengths of the consecutive pieces (documents) of each row; the sum of a row's lengths is T. Empty = one piece a row.
using Pieces = std::vector<std::vector<int64_t>>;

/// Which keys a query sees, and how its scores are bent. Query t of the pass stands at key position t + (S - T): the
/// last query sees the last key (bottom-right aligned), so a pass with a key/value cache needs no more than longer
/// keys.
struct AttentionForm {
  double scale = 1;            ///< of q . k
  double soft_cap = 0;         ///< cap * tanh(score / cap); 0 = off
  int64_t window = 0;          ///< a query sees the last `window` keys, itself included; 0 = all before it
  torch::Tensor alibi_slopes;  ///< (H) f32: score += slope * (key position - query position); undefined = off
  Pieces pieces;               ///< attend within pieces only (needs S = T)
};

struct AttentionResult {
  torch::Tensor output;  ///< (B,T,H,E)
  torch::Tensor lse;     ///< (B,H,T) f32: log of the softmax's denominator
};

/// Causal attention without ever an S x S tensor. q (B,T,H,E), k and v (B,S,K,E), H % K == 0. Memory beyond q, k, v and
/// the result is one packed copy of k and v, or of one head's a thread in the backward pass, and a few tiles; saves q,
/// k, v, output, lse. Tiles that the form masks wholly cost nothing. On processors with AVX-512 all forms go through
/// our own kernels (op/cpu/attention.h); elsewhere plain causal attention to libtorch's flash kernel, on CUDA in bf16
/// everything but soft caps and ALiBi too, and the rest by tiles of its products. Gradients of lse are not given. Dao
/// 2023 (FlashAttention-2), algorithms 1 and 2.
AttentionResult attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                          const AttentionForm& form);

/// The definition, with the whole (B,H,T,S) score tensor; what the tests hold attention() against.
AttentionResult plain_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                const AttentionForm& form);

}  // namespace accordion::op
