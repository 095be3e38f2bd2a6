#include "op/cpu/kernels.h"
#include "op/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/rotary.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

/// Pairs [begin, half) of one head, as many vectors of D as fit; returns where it stopped.
template <class D, class T>
HWY_INLINE int64_t turn_pairs(D d, int64_t begin, int64_t half, const T* x, const float* cos, const float* sin,
                              float sign, T* y) {
  const int64_t step = int64_t(hn::Lanes(d));
  int64_t i = begin;
  for (; i + step <= half; i += step) {
    const auto a = load(d, x + i), b = load(d, x + half + i);
    const auto c = load(d, cos + i), s = hn::Mul(load(d, sin + i), hn::Set(d, sign));
    store(d, hn::NegMulAdd(b, s, hn::Mul(a, c)), y + i);
    store(d, hn::MulAdd(a, s, hn::Mul(b, c)), y + half + i);
  }
  return i;
}

void rotate_tokens(Type type, const RotaryShape& shape, const void* x, const float* cos, const float* sin, float sign,
                   void* y, int64_t begin, int64_t end) {
  const int64_t half = shape.half, rest = shape.E - 2 * half;
  with_type(type, [&]<class T>(T*) {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t b = token / shape.T, t = token % shape.T;
      const int64_t angle = (shape.angles_by_row ? token : t) * half;
      for (int64_t h = 0; h < shape.H; ++h) {
        const T* from =
            static_cast<const T*>(x) + b * shape.row_stride + t * shape.token_stride + h * shape.head_stride;
        T* to = static_cast<T*>(y) + (token * shape.H + h) * shape.E;
        int64_t i = turn_pairs(Floats(), 0, half, from, cos + angle, sin + angle, sign, to);
        i = turn_pairs(hn::CappedTag<float, 8>(), i, half, from, cos + angle, sin + angle, sign, to);
        turn_pairs(hn::CappedTag<float, 1>(), i, half, from, cos + angle, sin + angle, sign, to);
        std::memcpy(to + 2 * half, from + 2 * half, size_t(rest) * sizeof(T));
      }
    }
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(rotate_tokens);

void rotate(Type type, const RotaryShape& shape, const void* x, const float* cos, const float* sin, float sign,
            void* y) {
  parallel_for(shape.B * shape.T, 1 + 16384 / (shape.H * shape.E), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(rotate_tokens)(type, shape, x, cos, sin, sign, y, begin, end);
  });
}

}  // namespace accordion::op::cpu
#endif
