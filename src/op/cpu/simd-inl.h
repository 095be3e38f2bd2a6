// Vector helpers shared by the kernels, compiled once for each instruction set. Include after hwy/foreach_target.h.
#if defined(ACCORDION_OP_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ACCORDION_OP_CPU_SIMD_INL_H_
#undef ACCORDION_OP_CPU_SIMD_INL_H_
#else
#define ACCORDION_OP_CPU_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "op/cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using V = hn::Vec<Floats>;
HWY_INLINE int64_t lanes() { return int64_t(hn::Lanes(Floats())); }

// ---- load, store: f32 as it is; bf16 widened, and narrowed to nearest even (Highway 1.0 truncates)

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bf16* from) {
  const hn::RebindToUnsigned<D> wide;
  const hn::Rebind<uint16_t, D> narrow;
  const auto bits = hn::LoadU(narrow, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> value, float* to) {
  hn::StoreU(value, d, to);
}

/// The bits of the nearest bf16 in the low half of each lane. A NaN stays one.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> bf16_bits(D d, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> wide;
  const auto bits = hn::BitCast(wide, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(wide, 0x7FFF))));
  const auto is_nan = hn::RebindMask(wide, hn::Ne(value, value));
  static_cast<void>(d);
  return hn::IfThenElse(is_nan, hn::Set(wide, 0x7FC0), rounded);
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> value, bf16* to) {
  const hn::RebindToSigned<D> wide;
  const hn::Rebind<uint16_t, D> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide, bf16_bits(d, value))), narrow, reinterpret_cast<uint16_t*>(to));
}

/// The first `n` lanes only, for the ragged end of a row; the others are `rest` on loading.
template <class T>
HWY_INLINE V load_some(const T* from, int64_t n, float rest = 0) {
  const Floats d;
  HWY_ALIGN float all[HWY_MAX_BYTES / sizeof(float)];
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(part, from, size_t(n) * sizeof(T));
  hn::Store(load(d, part), d, all);
  for (int64_t i = n; i < lanes(); ++i) all[i] = rest;
  return hn::Load(d, all);
}

template <class T>
HWY_INLINE void store_some(V value, T* to, int64_t n) {
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(float)];
  store(Floats(), value, part);
  std::memcpy(to, part, size_t(n) * sizeof(T));
}

HWY_INLINE V set(float value) { return hn::Set(Floats(), value); }
HWY_INLINE float sum(V v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }
HWY_INLINE float largest(V v) { return hn::GetLane(hn::MaxOfLanes(Floats(), v)); }

// ---- functions; polynomials fitted by least squares reweighted towards minimax

/// e^x, relative error 2e-7; 0 below -87.3, where the result would be subnormal; at most 2.4e38. A NaN stays one: x86's
/// Min and Max give their second operand then.
HWY_INLINE V exp(V x) {
  const Floats d;
  const hn::RebindToSigned<Floats> whole;
  const V in = hn::Min(set(88.37f), hn::Max(set(-87.3f), x));
  const V n = hn::Round(hn::Mul(in, set(1.44269504f)));
  const V r = hn::MulAdd(n, set(2.12194440e-4f), hn::MulAdd(n, set(-0.693359375f), in));  // |r| <= log(2) / 2
  V p = hn::MulAdd(set(0.00139505217f), r, set(0.00836890835f));
  p = hn::MulAdd(p, r, set(0.0416662053f));
  p = hn::MulAdd(p, r, set(0.166665187f));
  p = hn::MulAdd(p, r, set(0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), set(1));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(whole, n), hn::Set(whole, 127)));
  return hn::IfThenZeroElse(hn::Lt(x, set(-87.3f)), hn::Mul(p, hn::BitCast(d, exponent)));
}

HWY_INLINE V sigmoid(V x) { return hn::Div(set(1), hn::Add(set(1), exp(hn::Neg(x)))); }

/// Absolute error 1e-7.
HWY_INLINE V tanh(V x) { return hn::NegMulAdd(set(2), hn::Div(set(1), hn::Add(exp(hn::Add(x, x)), set(1))), set(1)); }

/// Relative error 3e-7, near 0 too: for where the result is multiplied by something large.
HWY_INLINE V precise_tanh(V x) {
  const V z = hn::Mul(x, x);
  V p = hn::MulAdd(set(0.0164383389f), z, set(-0.0526722074f));
  p = hn::MulAdd(p, z, set(0.133207306f));
  p = hn::MulAdd(p, z, set(-0.333329469f));
  return hn::IfThenElse(hn::Lt(z, set(0.3f)), hn::MulAdd(hn::Mul(p, z), x, x), tanh(x));
}

/// The normal distribution's integral up to x, and its density there (they share e^(-x^2/2)). Absolute error 4e-7:
/// erfc(z) = e^(-z^2) t P(t) with t = 1 / (1 + 0.39 z), the form of Abramowitz & Stegun 7.1.26.
struct Normal {
  V integral, density;
};
HWY_INLINE Normal normal(V x) {
  const V e = exp(hn::Mul(hn::Mul(x, x), set(-0.5f)));
  const V t = hn::Div(set(1), hn::MulAdd(hn::Abs(x), set(0.39f * 0.707106781f), set(1)));
  V p = hn::MulAdd(set(0.0808079939f), t, set(-0.45997672f));
  p = hn::MulAdd(p, t, set(0.888565085f));
  p = hn::MulAdd(p, t, set(-0.609500936f));
  p = hn::MulAdd(p, t, set(0.561069414f));
  p = hn::MulAdd(p, t, set(0.0788900417f));
  p = hn::MulAdd(p, t, set(0.241674208f));
  p = hn::MulAdd(p, t, set(0.218470914f));
  const V tail = hn::Mul(set(0.5f), hn::Mul(hn::Mul(p, t), e));  // beyond |x| on one side
  return {hn::IfThenElse(hn::Lt(x, set(0)), tail, hn::Sub(set(1), tail)), hn::Mul(e, set(0.398942280f))};
}

// ---- loops

/// Calls f with a null pointer whose type is that of the values.
template <class F>
HWY_INLINE void with_type(Type type, F f) {
  type == Type::f32 ? f(static_cast<float*>(nullptr)) : f(static_cast<bf16*>(nullptr));
}

/// y[i] = f(a[i], ...) for n values, a vector at a time.
template <class T, class F, class... Inputs>
HWY_INLINE void map(int64_t n, T* y, F f, const Inputs*... inputs) {
  const Floats d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) store(d, f(load(d, inputs + i)...), y + i);
  if (i < n) store_some(f(load_some(inputs + i, n - i)...), y + i, n - i);
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard
