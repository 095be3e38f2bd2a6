#pragma once

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "op/cpu/attention.h"
#include "op/cpu/attention_tiles.h"
#include "op/cpu/small_product.h"

/// What attention's forward and backward kernels share: small products, packing, panels.
namespace accordion::op::cpu {

inline constexpr int64_t kQueries = 64;       // of a tile
inline constexpr int64_t kForwardKeys = 512;  // of a tile: rows up to this length need no rescaling
inline constexpr int64_t kBackwardKeys = 128;

/// Uninitialised memory from libtorch's allocator, which counts and keeps it.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : memory_(c10::GetCPUAllocator()->allocate(size_t(n) * sizeof(T))) {}
  T* data() const { return static_cast<T*>(memory_.get()); }

 private:
  c10::DataPtr memory_;
};

template <class T>
inline constexpr Type kType = std::is_same_v<T, float> ? Type::f32 : Type::bf16;
template <class T>
inline constexpr int64_t kPair = std::is_same_v<T, float> ? 1 : 2;  ///< values in a 32-bit word

/// c (m,n) = a (m,k) b (k,n), or += ; bf16 wants b in zipped pairs of rows.
template <class T>
void small_product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, float* c, bool add) {
  small_product(kType<T>, {m, n, k, lda, n, n, add}, a, b, c);
}
/// The same where the rows of b and c are `ldb` and `ldc` values apart.
template <class T>
void small_product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, float* c,
                   int64_t ldc) {
  small_product(kType<T>, {m, n, k, lda, ldb, ldc, false}, a, b, c);
}

template <class T>
const T* head_of(const Strided& tensor, int64_t b, int64_t h) {
  return static_cast<const T*>(tensor.data) + b * tensor.row + h * tensor.head;
}

/// (rows,E) turned and zipped: what a product wants as its right side for from^T. to (E / kPair, padded) words.
template <class T>
void pack_turned(const T* from, int64_t stride, int64_t rows, int64_t E, T* to, int64_t padded) {
  turn_words(from, stride / kPair<T>, rows, E / kPair<T>, reinterpret_cast<uint32_t*>(to), padded, padded);
}

/// (rows,E) as the right side of a product, rows padded with zeros.
inline void pack_straight(const bf16* from, int64_t stride, int64_t rows, int64_t E, bf16* to, int64_t padded) {
  zip_rows(from, stride, rows, E, to, padded);
}
/// (rows,E) dense, rows padded with zeros.
template <class T>
void copy_rows(const T* from, int64_t stride, int64_t rows, int64_t E, T* to, int64_t padded) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * E, from + r * stride, size_t(E) * sizeof(T));
  std::memset(static_cast<void*>(to + rows * E), 0, size_t((padded - rows) * E) * sizeof(T));
}
inline void pack_straight(const float* from, int64_t stride, int64_t rows, int64_t E, float* to, int64_t padded) {
  copy_rows(from, stride, rows, E, to, padded);
}

/// Calls work(begin, end) for the stretches of [from, to) that lie within one panel. Turned keys are packed by panels,
/// so that their rows lie close together (a power of two apart they would fight for the same cache lines) and products
/// come in few shapes.
template <class Work>
void for_panels(int64_t panel, int64_t from, int64_t to, Work work) {
  for (int64_t begin = from; begin < to;) {
    const int64_t end = std::min(to, (begin / panel + 1) * panel);
    work(begin, end);
    begin = end;
  }
}

/// First key that each of the queries [begin, ...) of row b sees.
inline const int64_t* first_of(const AttentionCall& call, int64_t b, int64_t begin) {
  return call.first + b * call.T + begin;
}

inline TileForm form_of(const AttentionCall& call, int64_t h) {
  return {call.scale, call.soft_cap, call.slopes == nullptr ? 0.0F : call.slopes[h]};
}

}  // namespace accordion::op::cpu
