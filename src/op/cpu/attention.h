#pragma once

#include <cstdint>
#include <optional>

#include "op/cpu/kernels.h"

namespace accordion::op::cpu {

/// (B,T or S,heads,E) with any strides, in values; the last dimension is dense.
struct Strided {
  const void* data;
  int64_t row, token, head;
};

/// One call of attention. Every query sees the contiguous keys [first, t + S - T], whatever mix of causality, window
/// and documents made `first`.
struct AttentionCall {
  Type type;
  int64_t B, T, S, H, K, E;
  Strided q, k, v;
  float scale, soft_cap;
  const float* slopes;   ///< (H), or null
  const int64_t* first;  ///< (B,T): the first key that each query sees
};

/// Packed keys are a multiple of this: few shapes of products, no ragged vectors.
inline constexpr int64_t kAlign = 64;
inline int64_t rounded_up(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }
inline int64_t rounded_down(int64_t n) { return n / kAlign * kAlign; }

/// Whether the kernels below run here: they stand on products of small tiles and need an even E.
bool attention_works(Type type, int64_t E);

/// FlashAttention-2, algorithm 1, a tile of 64 queries at a time. output (B,T,H,E) and lse (B,H,T) are contiguous.
/// Holds one packed copy of k and v beside them.
void attention_forward(const AttentionCall& call, void* output, float* lse);

/// f32 sums of the gradients of keys and values, (S,E) for each head, to which a call adds. Rows up to
/// rounded_up(S) must exist; they get zeros added.
struct KeySums {
  float *dk, *dv;
  int64_t row, head;  ///< values from one row of the batch, and from one head, to the next
};

/// Where a call leaves the gradients of keys and values: in dk and dv (B,S,K,E), contiguous, or added to sums.
struct KeyGradients {
  void *dk = nullptr, *dv = nullptr;
  std::optional<KeySums> sums = {};
};

/// FlashAttention-2, algorithm 2, with every tile transposed (keys x queries) so that no tile is ever turned. dq
/// (B,T,H,E) is contiguous. Holds, for each thread, a turned copy of one head's keys and, without the caller's sums,
/// f32 sums of its dk and dv. The same bits for the same number of threads.
void attention_backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput,
                        void* dq, const KeyGradients& gradients);

}  // namespace accordion::op::cpu
