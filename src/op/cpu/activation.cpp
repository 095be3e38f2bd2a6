#include "op/cpu/kernels.h"
#include "op/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/activation.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

constexpr float kRoot = 0.797884561f;  // sqrt(2 / pi)
constexpr float kCube = 0.044715f;

HWY_INLINE V gelu_tanh_of(V x) {
  const V inner = hn::Mul(hn::Mul(set(kRoot), x), hn::MulAdd(hn::Mul(x, x), set(kCube), set(1)));
  const V half = hn::Mul(x, set(0.5f));
  return hn::MulAdd(half, tanh(inner), half);
}

HWY_INLINE V gelu_tanh_slope(V x) {
  const V square = hn::Mul(x, x);
  const V t = tanh(hn::Mul(hn::Mul(set(kRoot), x), hn::MulAdd(square, set(kCube), set(1))));
  const V inner_slope = hn::Mul(set(kRoot), hn::MulAdd(square, set(3 * kCube), set(1)));
  const V tanh_slope = hn::NegMulAdd(t, t, set(1));
  // Where tanh is flat to the last bit its slope is 0 and x may be huge: keep 0 * inf out.
  const V curved = hn::IfThenZeroElse(hn::Eq(tanh_slope, set(0)), hn::Mul(hn::Mul(x, inner_slope), tanh_slope));
  return hn::Mul(set(0.5f), hn::Add(hn::Add(set(1), t), curved));
}

HWY_INLINE V gelu_slope(V x) {
  const Normal n = normal(x);
  return hn::MulAdd(x, n.density, n.integral);
}

void gelu_part(Type type, const void* x, void* y, int64_t begin, int64_t end, bool tanh_form) {
  with_type(type, [&]<class T>(T*) {
    const T* from = static_cast<const T*>(x) + begin;
    T* to = static_cast<T*>(y) + begin;
    if (tanh_form) {
      map(
          end - begin, to, [](V v) { return gelu_tanh_of(v); }, from);
    } else {
      map(
          end - begin, to, [](V v) { return hn::Mul(v, normal(v).integral); }, from);
    }
  });
}

void gelu_backward_part(Type type, const void* x, const void* dy, void* dx, int64_t begin, int64_t end,
                        bool tanh_form) {
  with_type(type, [&]<class T>(T*) {
    const T *from = static_cast<const T*>(x) + begin, *incoming = static_cast<const T*>(dy) + begin;
    T* to = static_cast<T*>(dx) + begin;
    if (tanh_form) {
      map(
          end - begin, to, [](V v, V g) { return hn::Mul(g, gelu_tanh_slope(v)); }, from, incoming);
    } else {
      map(
          end - begin, to, [](V v, V g) { return hn::Mul(g, gelu_slope(v)); }, from, incoming);
    }
  });
}

/// Gates: value f(x), and what the incoming gradient times `up` is multiplied by, f'(x).
struct Silu {
  static HWY_INLINE V value(V x) { return hn::Mul(x, sigmoid(x)); }
  static HWY_INLINE V slope(V x) {
    const V s = sigmoid(x);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(set(1), s), set(1)));
  }
};

struct GeluTanh {
  static HWY_INLINE V value(V x) { return gelu_tanh_of(x); }
  static HWY_INLINE V slope(V x) { return gelu_tanh_slope(x); }
};

template <class F>
HWY_INLINE void with_gate(Gate gate, F f) {
  gate == Gate::silu ? f(Silu()) : f(GeluTanh());
}

void gated_part(Type type, Gate f, const void* gate, const void* up, void* y, int64_t begin, int64_t end) {
  with_gate(f, [&]<class G>(G) {
    with_type(type, [&]<class T>(T*) {
      const T *g = static_cast<const T*>(gate) + begin, *u = static_cast<const T*>(up) + begin;
      map(
          end - begin, static_cast<T*>(y) + begin, [](V a, V b) { return hn::Mul(G::value(a), b); }, g, u);
    });
  });
}

void gated_backward_part(Type type, Gate f, const void* gate, const void* up, const void* dy, void* dgate, void* dup,
                         int64_t begin, int64_t end) {
  with_gate(f, [&]<class G>(G) {
    const auto slope = [](V g, V u, V d) { return hn::Mul(hn::Mul(d, u), G::slope(g)); };
    const auto value = [](V g, V d) { return hn::Mul(d, G::value(g)); };
    with_type(type, [&]<class T>(T*) {
      const T *g = static_cast<const T*>(gate), *u = static_cast<const T*>(up), *d = static_cast<const T*>(dy);
      // In pieces that stay in the first-level cache: the two maps share their inputs.
      constexpr int64_t kPiece = 1024;
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = end - i < kPiece ? end - i : kPiece;
        map(n, static_cast<T*>(dgate) + i, slope, g + i, u + i, d + i);
        map(n, static_cast<T*>(dup) + i, value, g + i, d + i);
      }
    });
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(gelu_part);
HWY_EXPORT(gelu_backward_part);
HWY_EXPORT(gated_part);
HWY_EXPORT(gated_backward_part);

namespace {
constexpr int64_t kGrain = 16384;
}

void gelu(Type type, const void* x, void* y, int64_t n, bool tanh) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gelu_part)(type, x, y, begin, end, tanh);
  });
}

void gelu_backward(Type type, const void* x, const void* dy, void* dx, int64_t n, bool tanh) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gelu_backward_part)(type, x, dy, dx, begin, end, tanh);
  });
}

void gated(Type type, Gate f, const void* gate, const void* up, void* y, int64_t n) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gated_part)(type, f, gate, up, y, begin, end);
  });
}

void gated_backward(Type type, Gate f, const void* gate, const void* up, const void* dy, void* dgate, void* dup,
                    int64_t n) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gated_backward_part)(type, f, gate, up, dy, dgate, dup, begin, end);
  });
}

}  // namespace accordion::op::cpu
#endif
