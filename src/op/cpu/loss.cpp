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

/// Added in f64 by stretches, as the exponentials are.
template <class T>
double sum_of(const T* x, int64_t n) {
  const Floats d;
  const int64_t step = lanes(), stretch = 64 * step;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += stretch) {
    const int64_t end = begin + stretch < n ? begin + stretch : n;
    V part = hn::Zero(d);
    int64_t i = begin;
    for (; i + step <= end; i += step) part = hn::Add(part, load(d, x + i));
    if (i < end) part = hn::Add(part, load_some(x + i, end - i));
    total += double(sum(part));
  }
  return total;
}

/// What one row's pass over its capped logits y finds.
struct RowSums {
  double total;      ///< of e^(y - most)
  double log_total;  ///< log of the sum of e^y
  double at_target;  ///< y there
  double loss;
};

/// `y` may be `exponentials`.
template <class T>
RowSums row_sums(const LossForm& form, const T* y, int64_t target, int64_t n, float* exponentials) {
  const double mean = form.label_smoothing == 0 ? 0 : sum_of(y, n) / double(n);
  const float most = largest_of(y, n);
  float at_target[1];
  store_some(load_some(y + target, 1), at_target, 1);
  RowSums row;
  row.at_target = double(at_target[0]);
  row.total = exponentials_of(y, n, most, exponentials);
  row.log_total = std::log(row.total) + double(most);
  row.loss = row.log_total - (1 - form.label_smoothing) * row.at_target - form.label_smoothing * mean +
             form.z_loss * row.log_total * row.log_total;
  return row;
}

/// One row: exponentials into `scratch` (V), then the gradient from them. The row and the scratch stay in the
/// second-level cache, so the logits are read from memory once and the gradient written once. With p the softmax and S
/// the share spread by label smoothing, the gradient of y is p (1 + 2 z log_total) - S / V, less 1 - S at the target;
/// that of the logits is 1 - (y / cap)^2 times it.
template <class T>
float loss_row(const LossForm& form, const T* logits, int64_t target, int64_t n, float weight, float* scratch,
               T* gradient) {
  const bool capped = form.soft_cap > 0;
  const float cap = form.soft_cap, inverse = capped ? 1 / cap : 0;
  if (capped) {
    map(
        n, scratch, [=](V x) { return hn::Mul(precise_tanh(hn::Mul(x, set(inverse))), set(cap)); }, logits);
  }
  const RowSums row = capped ? row_sums(form, static_cast<const float*>(scratch), target, n, scratch)
                             : row_sums(form, logits, target, n, scratch);
  if (gradient != nullptr) {
    const double factor = double(form.factor) * double(weight), grown = 1 + 2 * form.z_loss * row.log_total,
                 spread = form.label_smoothing / double(n), flat = row.at_target * double(inverse);
    const double corrected =
        (double(scratch[target]) / row.total * grown - spread - (1 - form.label_smoothing)) * (1 - flat * flat);
    const V share = set(float(factor * grown / row.total)), less = set(float(factor * spread));
    const auto* exponentials = static_cast<const float*>(scratch);
    if (capped) {
      map(
          n, gradient,
          [=](V e, V x) {
            const V t = precise_tanh(hn::Mul(x, set(inverse)));
            return hn::Mul(hn::MulSub(e, share, less), hn::NegMulAdd(t, t, set(1)));
          },
          exponentials, logits);
    } else if (spread > 0) {
      map(
          n, gradient, [=](V e) { return hn::MulSub(e, share, less); }, exponentials);
    } else {
      map(
          n, gradient, [=](V e) { return hn::Mul(e, share); }, exponentials);
    }
    store_some(set(float(factor * corrected)), gradient + target, 1);
  }
  return float(double(weight) * row.loss);
}

void loss_rows(Type type, const LossForm& form, const void* logits, const int64_t* targets, const float* weights,
               int64_t V_, float* loss, void* gradient, float* scratch, int64_t begin, int64_t end) {
  with_type(type, [&]<class T>(T*) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = gradient == nullptr ? nullptr : static_cast<T*>(gradient) + row * V_;
      loss[row] = loss_row(form, static_cast<const T*>(logits) + row * V_, targets[row], V_,
                           weights == nullptr ? 1 : weights[row], scratch, to);
    }
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(loss_rows);

void softmax_loss(Type type, const LossForm& form, const void* logits, const int64_t* targets, const float* weights,
                  int64_t N, int64_t V, float* loss, void* gradient) {
  parallel_for(N, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(V));
    HWY_DYNAMIC_DISPATCH(loss_rows)
    (type, form, logits, targets, weights, V, loss, gradient, scratch.data(), begin, end);
  });
}

}  // namespace accordion::op::cpu
#endif
