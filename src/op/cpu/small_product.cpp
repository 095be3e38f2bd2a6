#include "op/cpu/small_product.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/small_product.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> low_half(D d, hn::Vec<hn::RebindToUnsigned<D>> words) {
  return hn::BitCast(d, hn::ShiftLeft<16>(words));
}
template <class D>
HWY_INLINE hn::Vec<D> high_half(D d, hn::Vec<hn::RebindToUnsigned<D>> words) {
  return hn::BitCast(d, hn::And(words, hn::Set(hn::RebindToUnsigned<D>(), 0xFFFF0000U)));
}

/// R rows by C vectors of c, which stay in registers: R * C sums, C vectors of b, one of a; 6 x 2 fills AVX2's sixteen.
template <int R, int C, class D>
HWY_INLINE void block(D d, const SmallProduct& shape, const float* a, const float* b, float* c) {
  const int64_t step = int64_t(hn::Lanes(d));
  hn::Vec<D> sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) sums[r][j] = shape.add ? hn::LoadU(d, c + r * shape.ldc + j * step) : hn::Zero(d);
  for (int64_t p = 0; p < shape.k; ++p, b += shape.ldb) {
    hn::Vec<D> right[C];
    for (int j = 0; j < C; ++j) right[j] = hn::LoadU(d, b + j * step);
    for (int r = 0; r < R; ++r) {
      const auto left = hn::Set(d, a[r * shape.lda + p]);
      for (int j = 0; j < C; ++j) sums[r][j] = hn::MulAdd(left, right[j], sums[r][j]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) hn::StoreU(sums[r][j], d, c + r * shape.ldc + j * step);
}

/// The same in bf16, two of k at a time: a pair of bf16 values is a 32-bit word whose halves are f32 values but for
/// zeros.
template <int R, int C, class D>
HWY_INLINE void block(D d, const SmallProduct& shape, const uint32_t* a, const uint32_t* b, float* c) {
  const int64_t step = int64_t(hn::Lanes(d)), lda = shape.lda / 2;
  const hn::RebindToUnsigned<D> words;
  hn::Vec<D> sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) sums[r][j] = shape.add ? hn::LoadU(d, c + r * shape.ldc + j * step) : hn::Zero(d);
  for (int64_t p = 0; p < shape.k / 2; ++p, b += shape.ldb) {
    hn::Vec<D> even[C], odd[C];
    for (int j = 0; j < C; ++j) {
      const auto pairs = hn::LoadU(words, b + j * step);
      even[j] = low_half(d, pairs);
      odd[j] = high_half(d, pairs);
    }
    for (int r = 0; r < R; ++r) {
      const auto pair = hn::Set(words, a[r * lda + p]);
      const auto left_even = low_half(d, pair), left_odd = high_half(d, pair);
      for (int j = 0; j < C; ++j) sums[r][j] = hn::MulAdd(left_even, even[j], sums[r][j]);
      for (int j = 0; j < C; ++j) sums[r][j] = hn::MulAdd(left_odd, odd[j], sums[r][j]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < C; ++j) hn::StoreU(sums[r][j], d, c + r * shape.ldc + j * step);
}

/// All rows of C vectors of columns. Words of `a` are `word` values each.
template <int C, class D, class W>
HWY_INLINE void column(D d, const SmallProduct& shape, int64_t word, const W* a, const W* b, float* c) {
  int64_t i = 0;
  const auto rows = [&]<int R>() {
    for (; i + R <= shape.m; i += R) block<R, C>(d, shape, a + i * shape.lda / word, b, c + i * shape.ldc);
  };
  rows.template operator()<6>();
  rows.template operator()<4>();
  rows.template operator()<2>();
  rows.template operator()<1>();
}

template <class W>
HWY_INLINE void product(const SmallProduct& shape, int64_t word, const W* a, const W* b, float* c) {
  const Floats d;
  const hn::CappedTag<float, 1> one;
  const int64_t step = lanes();
  int64_t j = 0;
  for (; j + 2 * step <= shape.n; j += 2 * step) column<2>(d, shape, word, a, b + j, c + j);
  for (; j + step <= shape.n; j += step) column<1>(d, shape, word, a, b + j, c + j);
  for (; j < shape.n; ++j) column<1>(one, shape, word, a, b + j, c + j);
}

void product_of_type(Type type, const SmallProduct& shape, const void* a, const void* b, float* c) {
  if (type == Type::f32) {
    product(shape, 1, static_cast<const float*>(a), static_cast<const float*>(b), c);
  } else {
    product(shape, 2, static_cast<const uint32_t*>(a), static_cast<const uint32_t*>(b), c);
  }
}

/// Whether this instruction set multiplies and adds in one: the kernel stands on that.
bool fuses() { return HWY_TARGET <= HWY_AVX2; }

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(product_of_type);
HWY_EXPORT(fuses);

namespace {

void through_libtorch(Type type, const SmallProduct& shape, const void* a, const void* b, float* c) {
  const auto& [m, n, k, lda, ldb, ldc, add] = shape;
  if (type == Type::f32) {
    at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, static_cast<const float*>(a), static_cast<const float*>(b),
                                c, /*is_vnni=*/false);
  } else {
    at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, static_cast<const at::BFloat16*>(a),
                                static_cast<const at::BFloat16*>(b), c, /*is_vnni=*/true);
  }
}

/// Tries one of ones: libtorch refuses where the processor lacks the instructions.
bool libtorch_works(Type type) {
  try {
    constexpr int64_t kSide = 64;
    const uint32_t one = type == Type::f32 ? 0x3F800000U : 0x3F803F80U;  // an f32, or two bf16 values
    const std::vector<uint32_t> ones(kSide * kSide, one);
    std::vector<float> c(kSide * kSide);
    through_libtorch(type, {kSide, kSide, kSide, kSide, kSide, kSide, false}, ones.data(), ones.data(), c.data());
    at::native::cpublas::brgemm_release();
    return std::all_of(c.begin(), c.end(), [](float value) { return value == kSide; });
  } catch (const c10::Error&) {
    return false;
  }
}

bool goes_through_libtorch(Type type) {
  static const bool f32 = libtorch_works(Type::f32), half = libtorch_works(Type::bf16);
  return type == Type::f32 ? f32 : half;
}

}  // namespace

bool small_products_work(Type type) { return goes_through_libtorch(type) || HWY_DYNAMIC_DISPATCH(fuses)(); }

void small_product(Type type, const SmallProduct& shape, const void* a, const void* b, float* c) {
  goes_through_libtorch(type) ? through_libtorch(type, shape, a, b, c) : small_product_here(type, shape, a, b, c);
}

void small_product_here(Type type, const SmallProduct& shape, const void* a, const void* b, float* c) {
  HWY_DYNAMIC_DISPATCH(product_of_type)(type, shape, a, b, c);
}

void end_small_products() { at::native::cpublas::brgemm_release(); }

}  // namespace accordion::op::cpu
#endif
