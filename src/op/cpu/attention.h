#pragma once

#include <cstdint>

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

/// Whether the kernels below run here: they stand on libtorch's small-tile products (oneDNN's brgemm: AVX-512, in bf16
/// with native bf16 or AMX) and need an even E.
bool attention_works(Type type, int64_t E);

/// FlashAttention-2, algorithm 1, a tile of 64 queries at a time. output (B,T,H,E) and lse (B,H,T) are contiguous.
/// Holds one packed copy of k and v beside them.
void attention_forward(const AttentionCall& call, void* output, float* lse);

/// FlashAttention-2, algorithm 2, with every tile transposed (keys x queries) so that no tile is ever turned. dq
/// (B,T,H,E), dk and dv (B,S,K,E) are contiguous. Holds, for each thread, three packed copies of one head's keys or
/// values and f32 sums of its dk and dv. The same bits for the same number of threads.
void attention_backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput,
                        void* dq, void* dk, void* dv);

}  // namespace accordion::op::cpu
