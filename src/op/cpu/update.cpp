#include <algorithm>
#include <vector>

#include "op/cpu/kernels.h"
#include "op/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/update.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

void adamw_part(const AdamWFactors& f, float* master, bf16* weight, const float* gradient, float* first, float* second,
                int64_t begin, int64_t end) {
  const Floats d;
  const auto update = [&](V g, V& w, V& m, V& v) {
    g = hn::Mul(g, set(f.gradient_scale));
    m = hn::MulAdd(hn::Sub(g, m), set(1 - f.beta1), m);
    v = hn::MulAdd(hn::Mul(g, g), set(1 - f.beta2), hn::Mul(v, set(f.beta2)));
    const V root = hn::MulAdd(hn::Sqrt(v), set(f.root_correction), set(f.epsilon));
    w = hn::NegMulAdd(set(f.step), hn::Div(m, root), hn::Mul(w, set(f.keep)));
  };
  const int64_t step = lanes();
  int64_t i = begin;
  for (; i + step <= end; i += step) {
    V w = load(d, master + i), m = load(d, first + i), v = load(d, second + i);
    update(load(d, gradient + i), w, m, v);
    store(d, w, master + i);
    store(d, m, first + i);
    store(d, v, second + i);
    if (weight != nullptr) store(d, w, weight + i);
  }
  if (i < end) {
    const int64_t n = end - i;
    V w = load_some(master + i, n), m = load_some(first + i, n), v = load_some(second + i, n);
    update(load_some(gradient + i, n), w, m, v);
    store_some(w, master + i, n);
    store_some(m, first + i, n);
    store_some(v, second + i, n);
    if (weight != nullptr) store_some(w, weight + i, n);
  }
}

void add_part(Type type, const void* x, float factor, float* y, int64_t begin, int64_t end) {
  with_type(type, [&]<class T>(T*) {
    const auto sum_of = [factor](V total, V v) { return hn::MulAdd(v, set(factor), total); };
    map(end - begin, y + begin, sum_of, static_cast<const float*>(y + begin), static_cast<const T*>(x) + begin);
  });
}

void scale_part(Type type, const void* x, float factor, void* y, int64_t begin, int64_t end) {
  with_type(type, [&]<class T>(T*) {
    const auto product = [factor](V v) { return hn::Mul(v, set(factor)); };
    map(end - begin, static_cast<T*>(y) + begin, product, static_cast<const T*>(x) + begin);
  });
}

/// Columns [begin, end) of row `from` of x are added to row `to` of the table.
void add_row_part(Type type, const void* x, int64_t D, int64_t from, float* table, int64_t to, int64_t begin,
                  int64_t end) {
  with_type(type, [&]<class T>(T*) {
    float* sums = table + to * D + begin;
    map(
        end - begin, sums, [](V total, V v) { return hn::Add(total, v); }, static_cast<const float*>(sums),
        static_cast<const T*>(x) + from * D + begin);
  });
}

/// In f64, so that a hundred million squares keep f32's precision.
double squares_part(Type type, const void* x, int64_t begin, int64_t end) {
  double total = 0;
  with_type(type, [&]<class T>(T*) {
    const Floats d;
    const T* values = static_cast<const T*>(x);
    const int64_t step = lanes(), stretch = 64 * step;
    for (int64_t first = begin; first < end; first += stretch) {
      const int64_t last = std::min(first + stretch, end);
      V part = hn::Zero(d);
      int64_t i = first;
      for (; i + step <= last; i += step) {
        const V v = load(d, values + i);
        part = hn::MulAdd(v, v, part);
      }
      if (i < last) {
        const V v = load_some(values + i, last - i);
        part = hn::MulAdd(v, v, part);
      }
      total += double(sum(part));
    }
  });
  return total;
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(adamw_part);
HWY_EXPORT(add_part);
HWY_EXPORT(scale_part);
HWY_EXPORT(add_row_part);
HWY_EXPORT(squares_part);

namespace {
constexpr int64_t kGrain = 32768;
}

void adamw(const AdamWFactors& factors, float* master, bf16* weight, const float* gradient, float* first, float* second,
           int64_t n) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_part)(factors, master, weight, gradient, first, second, begin, end);
  });
}

void add(Type type, const void* x, float factor, float* y, int64_t n) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_part)(type, x, factor, y, begin, end);
  });
}

void scale(Type type, const void* x, float factor, void* y, int64_t n) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(scale_part)(type, x, factor, y, begin, end);
  });
}

void add_column_sums(Type type, const void* x, int64_t N, int64_t D, float* sums) {
  // Each block of rows has sums of its own, added in order: the same bits whatever the number of threads.
  constexpr int64_t kBlock = 256;
  const int64_t blocks = (N + kBlock - 1) / kBlock;
  std::vector<float> own(static_cast<size_t>(blocks * D), 0.0F);
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      for (int64_t row = block * kBlock; row < std::min((block + 1) * kBlock, N); ++row) {
        HWY_DYNAMIC_DISPATCH(add_row_part)(type, x, D, row, own.data(), block, 0, D);
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    HWY_DYNAMIC_DISPATCH(add_row_part)(Type::f32, own.data(), D, block, sums, 0, 0, D);
  }
}

void add_rows(Type type, const void* x, const int64_t* ids, int64_t N, int64_t D, int64_t skip, float* table) {
  parallel_for(D, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < N; ++row) {
      if (ids[row] == skip) continue;
      HWY_DYNAMIC_DISPATCH(add_row_part)(type, x, D, row, table, ids[row], begin, end);
    }
  });
}

double sum_of_squares(Type type, const void* x, int64_t n) {
  constexpr int64_t kBlock = 65536;
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> own(static_cast<size_t>(blocks));
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t end = std::min((block + 1) * kBlock, n);
      own[size_t(block)] = HWY_DYNAMIC_DISPATCH(squares_part)(type, x, block * kBlock, end);
    }
  });
  double total = 0;
  for (const double part : own) total += part;
  return total;
}

}  // namespace accordion::op::cpu
#endif
