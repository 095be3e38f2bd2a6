#include <cmath>
#include <vector>

#include "op/cpu/kernels.h"
#include "op/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/loss.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

template <class T>
float largest_of(const T* x, int64_t n) {
  const Floats d;
  const int64_t step = lanes();
  V most = set(-INFINITY);
  int64_t i = 0;
  for (; i + step <= n; i += step) most = hn::Max(most, load(d, x + i));
  if (i < n) most = hn::Max(most, load_some(x + i, n - i, -INFINITY));
  return largest(most);
}

/// exponentials[i] = e^(x[i] - level), f32; returns their sum. Partial sums of a few thousand values are added in f64:
/// a vocabulary is long.
template <class T>
double exponentials_of(const T* x, int64_t n, float level, float* exponentials) {
  const Floats d;
  const int64_t step = lanes(), stretch = 64 * step;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += stretch) {
    const int64_t end = begin + stretch < n ? begin + stretch : n;
    V part = hn::Zero(d);
    int64_t i = begin;
    for (; i + step <= end; i += step) {
      const V e = exp(hn::Sub(load(d, x + i), set(level)));
      hn::StoreU(e, d, exponentials + i);
      part = hn::Add(part, e);
    }
    if (i < end) {
      const V e = exp(hn::Sub(load_some(x + i, end - i, -INFINITY), set(level)));
      store_some(e, exponentials + i, end - i);
      part = hn::Add(part, e);
    }
    total += double(sum(part));
  }
  return total;
}

/// One row: largest value, exponentials into `scratch` (V), then the gradient from them. The row and the scratch stay
/// in the second-level cache, so the logits are read from memory once and the gradient written once.
template <class T>
float loss_row(const T* logits, int64_t target, int64_t n, float factor, float* scratch, T* gradient) {
  const Floats d;
  const float most = largest_of(logits, n);
  const double total = exponentials_of(logits, n, most, scratch);
  float at_target[1];
  store_some(load_some(logits + target, 1), at_target, 1);
  const auto loss = float(std::log(total) + double(most) - double(at_target[0]));
  if (gradient != nullptr) {
    const V share = set(float(double(factor) / total));
    const float corrected = float(double(scratch[target]) / total - 1) * factor;
    map(
        n, gradient, [share](V e) { return hn::Mul(e, share); }, static_cast<const float*>(scratch));
    store_some(hn::Set(d, corrected), gradient + target, 1);
  }
  return loss;
}

void loss_rows(Type type, const void* logits, const int64_t* targets, int64_t V_, int64_t ignored, float factor,
               float* loss, void* gradient, float* scratch, int64_t begin, int64_t end) {
  with_type(type, [&]<class T>(T*) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = gradient == nullptr ? nullptr : static_cast<T*>(gradient) + row * V_;
      if (targets[row] == ignored) {
        loss[row] = 0;
        if (to != nullptr) std::memset(to, 0, size_t(V_) * sizeof(T));
      } else {
        loss[row] = loss_row(static_cast<const T*>(logits) + row * V_, targets[row], V_, factor, scratch, to);
      }
    }
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(loss_rows);

void softmax_loss(Type type, const void* logits, const int64_t* targets, int64_t N, int64_t V, int64_t ignored,
                  float factor, float* loss, void* gradient) {
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(V));
    HWY_DYNAMIC_DISPATCH(loss_rows)
    (type, logits, targets, V, ignored, factor, loss, gradient, scratch.data(), begin, end);
  });
}

}  // namespace accordion::op::cpu
#endif
