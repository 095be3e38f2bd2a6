#include <cmath>
#include <vector>

#include "op/cpu/kernels.h"
#include "op/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/norm.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

/// Sum over i of f(a[i], ...), a vector at a time.
template <class F, class... T>
HWY_INLINE float sum_over(int64_t n, F f, const T*... inputs) {
  const Floats d;
  const int64_t step = lanes();
  V total = hn::Zero(d);
  int64_t i = 0;
  for (; i + step <= n; i += step) total = hn::Add(total, f(load(d, inputs + i)...));
  if (i < n) {
    const V last = f(load_some(inputs + i, n - i)...);
    total = hn::Add(total, hn::IfThenElseZero(hn::FirstN(d, size_t(n - i)), last));
  }
  return sum(total);
}

/// What weights are offsets from.
HWY_INLINE float base_of(const NormShape& shape) { return shape.plus_one ? 1 : 0; }

template <class T>
void norm_row(const NormShape& shape, const T* x, const T* weight, const T* bias, T* y, float* mean, float* rstd) {
  const float width = float(shape.D);
  const float middle = shape.centred ? sum_over(
                                           shape.D, [](V v) { return v; }, x) /
                                           width
                                     : 0;
  const float square = sum_over(
      shape.D,
      [middle](V v) {
        const V c = hn::Sub(v, set(middle));
        return hn::Mul(c, c);
      },
      x);
  const float r = 1 / std::sqrt(square / width + float(shape.epsilon));
  if (shape.centred) *mean = middle;
  *rstd = r;
  const auto normal_of = [middle, r](V v) { return hn::Mul(hn::Sub(v, set(middle)), set(r)); };
  const float base = base_of(shape);
  if (bias != nullptr) {
    map(
        shape.D, y, [=](V v, V w, V b) { return hn::MulAdd(normal_of(v), hn::Add(w, set(base)), b); }, x, weight, bias);
  } else {
    map(
        shape.D, y, [=](V v, V w) { return hn::Mul(normal_of(v), hn::Add(w, set(base))); }, x, weight);
  }
}

/// With n = (x - mean) rstd and g = dy weight (or dy (1 + weight)): dx = rstd (g - mean(g) - n mean(g n)); dweight +=
/// dy n, dbias += dy.
template <class T>
void norm_backward_row(const NormShape& shape, const T* x, const T* weight, float middle, float r, const T* dy, T* dx,
                       float* dweight, float* dbias) {
  const float width = float(shape.D);
  const auto normal_of = [middle, r](V v) { return hn::Mul(hn::Sub(v, set(middle)), set(r)); };
  const float base = base_of(shape);
  const auto weighed = [base](V g, V w) { return hn::Mul(g, hn::Add(w, set(base))); };
  const float inner = sum_over(
                          shape.D, [&](V v, V w, V g) { return hn::Mul(weighed(g, w), normal_of(v)); }, x, weight, dy) /
                      width;
  const float level = shape.centred ? sum_over(
                                          shape.D, [&](V w, V g) { return weighed(g, w); }, weight, dy) /
                                          width
                                    : 0;
  map(
      shape.D, dx,
      [&](V v, V w, V g) {
        const V about = hn::NegMulAdd(normal_of(v), set(inner), hn::Sub(weighed(g, w), set(level)));
        return hn::Mul(about, set(r));
      },
      x, weight, dy);
  if (dweight != nullptr) {
    map(
        shape.D, dweight, [&](V sums, V v, V g) { return hn::MulAdd(g, normal_of(v), sums); }, dweight, x, dy);
  }
  if (dbias != nullptr)
    map(
        shape.D, dbias, [](V sums, V g) { return hn::Add(sums, g); }, dbias, dy);
}

void norm_rows(Type type, const NormShape& shape, const void* x, const void* weight, const void* bias, void* y,
               float* mean, float* rstd, int64_t begin, int64_t end) {
  with_type(type, [&]<class T>(T*) {
    for (int64_t row = begin; row < end; ++row) {
      norm_row(shape, static_cast<const T*>(x) + row * shape.D, static_cast<const T*>(weight),
               static_cast<const T*>(bias), static_cast<T*>(y) + row * shape.D, mean + row, rstd + row);
    }
  });
}

void norm_backward_rows(Type type, const NormShape& shape, const void* x, const void* weight, const float* mean,
                        const float* rstd, const void* dy, void* dx, float* dweight, float* dbias, int64_t begin,
                        int64_t end) {
  with_type(type, [&]<class T>(T*) {
    for (int64_t row = begin; row < end; ++row) {
      norm_backward_row(shape, static_cast<const T*>(x) + row * shape.D, static_cast<const T*>(weight),
                        shape.centred ? mean[row] : 0, rstd[row], static_cast<const T*>(dy) + row * shape.D,
                        static_cast<T*>(dx) + row * shape.D, dweight, dbias);
    }
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(norm_rows);
HWY_EXPORT(norm_backward_rows);

void norm(Type type, const NormShape& shape, const void* x, const void* weight, const void* bias, void* y, float* mean,
          float* rstd) {
  parallel_for(shape.N, 1 + 16384 / shape.D, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(norm_rows)(type, shape, x, weight, bias, y, mean, rstd, begin, end);
  });
}

void norm_backward(Type type, const NormShape& shape, const void* x, const void* weight, const float* mean,
                   const float* rstd, const void* dy, void* dx, float* dweight, float* dbias) {
  // Each block of rows has sums of its own, added in order at the end: the same bits whatever the number of threads.
  constexpr int64_t kBlock = 256;
  const int64_t D = shape.D, blocks = (shape.N + kBlock - 1) / kBlock;
  std::vector<float> sums(size_t(2 * blocks * D), 0.0F);
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      float* own = sums.data() + 2 * block * D;
      const int64_t begin = block * kBlock, end = begin + kBlock < shape.N ? begin + kBlock : shape.N;
      HWY_DYNAMIC_DISPATCH(norm_backward_rows)
      (type, shape, x, weight, mean, rstd, dy, dx, dweight == nullptr ? nullptr : own,
       dbias == nullptr ? nullptr : own + D, begin, end);
    }
  });
  for (int64_t i = 0; i < D; ++i) {
    float weight_sum = 0, bias_sum = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      weight_sum += sums[size_t(2 * block * D + i)];
      bias_sum += sums[size_t((2 * block + 1) * D + i)];
    }
    if (dweight != nullptr) dweight[i] = weight_sum;
    if (dbias != nullptr) dbias[i] = bias_sum;
  }
}

}  // namespace accordion::op::cpu
#endif
