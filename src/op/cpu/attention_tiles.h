#pragma once

#include <cstdint>

#include "op/cpu/kernels.h"

/// The parts of attention that are not products, on tiles that fit the second-level cache.
namespace accordion::op::cpu {

/// to[w][r] = from[r][w] for 32-bit words (an f32, or a pair of bf16 values); columns [rows, padded) of `to` become 0.
void turn_words(const void* from, int64_t from_stride, int64_t rows, int64_t words, uint32_t* to, int64_t to_stride,
                int64_t padded);

/// Pairs of bf16 rows zipped: to[r / 2][e][r % 2] = from[r][e]; rows [rows, padded) become 0.
void zip_rows(const bf16* from, int64_t from_stride, int64_t rows, int64_t E, bf16* to, int64_t padded);

/// to[2 w + half][r] = the bf16 half of from[w][r].
void split_words(const uint32_t* from, int64_t words, int64_t columns, bf16* to);

/// How a score is bent, and what a tile's queries see.
struct TileForm {
  float scale, soft_cap, slope;
};

/// One tile of the forward pass: `rows` queries by `keys` keys (a multiple of 64) whose scores q.k stand in `scores`
/// (rows x keys). Query r sees keys [first[r], last + r] counted from the tile's first key.
struct ForwardTile {
  int64_t rows, keys, E;
  float* scores;  ///< overwritten
  const int64_t* first;
  int64_t first_base;  ///< subtract from first[r]
  int64_t last;
  void* weights;                  ///< (rows x keys): e^(score - largest so far), 0 where unseen
  float *largest, *total, *sums;  ///< (rows), (rows), (rows x E): running, rescaled in place
};
void softmax_tile(Type type, const TileForm& form, const ForwardTile& tile);

/// output row = sums / total, lse = largest + log(total).
void finish_row(Type type, const float* sums, float total, int64_t E, void* output);

/// One tile of the backward pass, keys x queries (a multiple of 16 columns). Query t sees the keys k with before[t] < k
/// < after[t], counted from the tile's first key.
struct BackwardTile {
  int64_t keys, queries;
  float* scores;          ///< (keys x queries): k.q
  const float* dweights;  ///< (keys x queries): v.do
  const float *lse, *delta;
  const int32_t *before, *after;
  int32_t key_to_query;  ///< position of the tile's first key minus that of query 0, for ALiBi
  bool masked;           ///< some pair is unseen
  void* weights;         ///< (keys x queries)
  void* dscores;         ///< (keys x queries)
  void* zipped;          ///< dscores in zipped pairs of rows; null in f32
};
void backward_tile(Type type, const TileForm& form, const BackwardTile& tile);

/// Sum of a[i] * b[i].
float dot(Type type, const void* a, const void* b, int64_t n);

/// to[r][e] = from[e][r], narrowed.
void turn_out(Type type, const float* from, int64_t from_stride, int64_t rows, int64_t E, void* to, int64_t to_stride);

/// to = from, narrowed.
void narrow(Type type, const float* from, int64_t n, void* to);

}  // namespace accordion::op::cpu
