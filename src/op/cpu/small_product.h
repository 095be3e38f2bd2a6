#pragma once

#include <cstdint>

#include "op/cpu/kernels.h"

/// Products of tiles that lie in the second-level cache: what attention is made of.
namespace accordion::op::cpu {

/// Whether small products run here: through libtorch (oneDNN's brgemm: AVX-512, in bf16 with native bf16 or AMX), or by
/// the kernel below (AVX2 and what came after).
bool small_products_work(Type type);

/// c (m,n) = a (m,k) b (k,n), or += where `add`. Rows are lda, ldb and ldc values apart; c is f32. In bf16 k is even
/// and b has its rows zipped in pairs: row p / 2 holds b[p][j] and b[p + 1][j] side by side for each j.
struct SmallProduct {
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool add;
};
void small_product(Type type, const SmallProduct& shape, const void* a, const void* b, float* c);

/// Gives back what libtorch holds for a thread's small products, at the end of its work.
void end_small_products();

/// The kernel of ours, apart for tests and benchmarks.
void small_product_here(Type type, const SmallProduct& shape, const void* a, const void* b, float* c);

}  // namespace accordion::op::cpu
