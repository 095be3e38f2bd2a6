#include "op/cpu/attention_tiles.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "op/cpu/attention_tiles.cpp"
#include <hwy/foreach_target.h>
//
#include "op/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accordion::op::cpu::HWY_NAMESPACE {

using Words = hn::ScalableTag<uint32_t>;
using Ints = hn::ScalableTag<int32_t>;

void turn_words_here(const void* from, int64_t from_stride, int64_t rows, int64_t words, uint32_t* to,
                     int64_t to_stride, int64_t padded) {
  const Words d;
  const int64_t step = lanes();
  const auto* source = static_cast<const uint32_t*>(from);
  const auto offsets = hn::Mul(hn::Iota(Ints(), 0), hn::Set(Ints(), int32_t(from_stride)));
  for (int64_t r = 0; r < padded; r += step) {
    if (r + step <= rows) {
      for (int64_t w = 0; w < words; ++w) {
        hn::StoreU(hn::GatherIndex(d, source + r * from_stride + w, offsets), d, to + w * to_stride + r);
      }
    } else {
      for (int64_t w = 0; w < words; ++w) {
        for (int64_t i = r; i < std::min(r + step, padded); ++i) {
          to[w * to_stride + i] = i < rows ? source[i * from_stride + w] : 0;
        }
      }
    }
  }
}

void zip_rows_here(const bf16* from, int64_t from_stride, int64_t rows, int64_t E, bf16* to, int64_t padded) {
  const Words d;
  const hn::Rebind<uint16_t, Words> narrow;
  const int64_t step = lanes();
  for (int64_t r = 0; r < padded; r += 2, to += 2 * E) {
    const auto* low = reinterpret_cast<const uint16_t*>(from + r * from_stride);
    const auto* high = low + from_stride;
    auto* pairs = reinterpret_cast<uint32_t*>(to);
    int64_t e = 0;
    if (r + 1 < rows) {
      for (; e + step <= E; e += step) {
        const auto a = hn::PromoteTo(d, hn::LoadU(narrow, low + e)), b = hn::PromoteTo(d, hn::LoadU(narrow, high + e));
        hn::StoreU(hn::Or(a, hn::ShiftLeft<16>(b)), d, pairs + e);
      }
    }
    for (; e < E; ++e) {
      pairs[e] = (r < rows ? low[e] : 0U) | (r + 1 < rows ? uint32_t(high[e]) << 16 : 0U);
    }
  }
}

void split_words_here(const uint32_t* from, int64_t words, int64_t columns, bf16* to) {
  const Words d;
  const hn::RebindToSigned<Words> wide;
  const hn::Rebind<uint16_t, Words> narrow;
  const int64_t step = lanes();
  for (int64_t w = 0; w < words; ++w, from += columns) {
    auto* low = reinterpret_cast<uint16_t*>(to) + 2 * w * columns;
    auto* high = low + columns;
    for (int64_t i = 0; i < columns; i += step) {  // columns are a multiple of 64
      const auto pair = hn::LoadU(d, from + i);
      hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide, hn::And(pair, hn::Set(d, 0xFFFF)))), narrow, low + i);
      hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide, hn::ShiftRight<16>(pair))), narrow, high + i);
    }
  }
}

/// The score after scaling, cap and slope; `distance` is key minus query position.
HWY_INLINE V bent(const TileForm& form, V score, V distance) {
  V s = hn::Mul(score, set(form.scale));
  if (form.soft_cap > 0) s = hn::Mul(set(form.soft_cap), tanh(hn::Div(s, set(form.soft_cap))));
  return form.slope != 0 ? hn::MulAdd(set(form.slope), distance, s) : s;
}

/// Row r of a forward tile: keys [begin, end) are seen, the others get weight 0.
template <class T>
HWY_INLINE void softmax_row(const TileForm& form, const ForwardTile& tile, int64_t r, int64_t begin, int64_t end) {
  const Floats d;
  const Ints di;
  const int64_t step = lanes();
  float* scores = tile.scores + r * tile.keys;
  T* weights = static_cast<T*>(tile.weights) + r * tile.keys;
  const int64_t low = begin / step * step, high = (end + step - 1) / step * step;
  const auto seen = [&](int64_t i) {
    const auto key = hn::Iota(di, int32_t(i));
    return hn::RebindMask(
        d, hn::And(hn::Gt(key, hn::Set(di, int32_t(begin) - 1)), hn::Lt(key, hn::Set(di, int32_t(end)))));
  };
  const auto bend = [&](int64_t i) {
    return bent(form, hn::LoadU(d, scores + i), hn::Iota(d, float(i - tile.last - r)));
  };
  V most = set(-INFINITY);
  for (int64_t i = low; i < high; i += step) {
    V s = bend(i);
    if (i < begin || i + step > end) s = hn::IfThenElse(seen(i), s, set(-INFINITY));
    hn::StoreU(s, d, scores + i);
    most = hn::Max(most, s);
  }
  const float before = tile.largest[r], now = std::max(before, largest(most));
  V total = hn::Zero(d);
  for (int64_t i = low; i < high; i += step) {
    const V p = exp(hn::Sub(hn::LoadU(d, scores + i), set(now)));
    total = hn::Add(total, p);
    store(d, p, weights + i);
  }
  std::memset(static_cast<void*>(weights), 0, size_t(low) * sizeof(T));
  std::memset(static_cast<void*>(weights + high), 0, size_t(tile.keys - high) * sizeof(T));
  const float shrink = before == now ? 1.0F : std::exp(before - now);
  tile.largest[r] = now;
  tile.total[r] = tile.total[r] * shrink + sum(total);
  if (shrink != 1 && before != -INFINITY) {
    float* sums = tile.sums + r * tile.E;
    map(
        tile.E, sums, [shrink](V v) { return hn::Mul(v, set(shrink)); }, static_cast<const float*>(sums));
  }
}

void softmax_tile_here(Type type, const TileForm& form, const ForwardTile& tile) {
  with_type(type, [&]<class T>(T*) {
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t begin = std::max<int64_t>(0, tile.first[r] - tile.first_base);
      const int64_t end = std::min(tile.keys, tile.last + r + 1);
      if (begin < end) {
        softmax_row<T>(form, tile, r, begin, end);
      } else {
        std::memset(static_cast<void*>(static_cast<T*>(tile.weights) + r * tile.keys), 0,
                    size_t(tile.keys) * sizeof(T));
      }
    }
  });
}

void finish_row_here(Type type, const float* sums, float total, int64_t E, void* output) {
  with_type(type, [&]<class T>(T*) {
    map(
        E, static_cast<T*>(output), [total](V v) { return hn::Div(v, set(total)); }, sums);
  });
}

/// weights = e^(score - lse); dscores = weights (dweights - delta) times the slope of cap and scale. `kMasked` and
/// `kCapped` at compile time keep the common tile short.
template <class T, bool kMasked, bool kCapped>
void backward_rows(const TileForm& form, const BackwardTile& tile) {
  const Floats d;
  const Ints di;
  const int64_t step = lanes();
  auto* weights = static_cast<T*>(tile.weights);
  auto* dscores = static_cast<T*>(tile.dscores);
  const auto one = [&](int64_t key, int64_t t, V& weight, V& dscore) {
    const int64_t at = key * tile.queries + t;
    V s = hn::Mul(hn::LoadU(d, tile.scores + at), set(form.scale)), slope = set(form.scale);
    if constexpr (kCapped) {
      const V flat = tanh(hn::Div(s, set(form.soft_cap)));
      s = hn::Mul(set(form.soft_cap), flat);
      slope = hn::NegMulAdd(hn::Mul(slope, flat), flat, slope);
    }
    if (form.slope != 0) {
      s = hn::MulAdd(set(form.slope), hn::Sub(set(float(tile.key_to_query + key)), hn::Iota(d, float(t))), s);
    }
    weight = exp(hn::Sub(s, hn::LoadU(d, tile.lse + t)));
    if constexpr (kMasked) {
      const auto at_key = hn::Set(di, int32_t(key));
      const auto seen =
          hn::And(hn::Gt(at_key, hn::LoadU(di, tile.before + t)), hn::Lt(at_key, hn::LoadU(di, tile.after + t)));
      weight = hn::IfThenElseZero(hn::RebindMask(d, seen), weight);
    }
    const V gap = hn::Sub(hn::LoadU(d, tile.dweights + at), hn::LoadU(d, tile.delta + t));
    dscore = hn::Mul(hn::Mul(weight, gap), slope);
    store(d, weight, weights + at);
    store(d, dscore, dscores + at);
  };
  for (int64_t key = 0; key < tile.keys; key += 2) {  // keys are even: padded
    for (int64_t t = 0; t < tile.queries; t += step) {
      V weight, low, high;
      one(key, t, weight, low);
      one(key + 1, t, weight, high);
      if constexpr (!std::is_same_v<T, float>) {
        const Words dw;
        const auto pair = hn::Or(bf16_bits(d, low), hn::ShiftLeft<16>(bf16_bits(d, high)));
        hn::StoreU(pair, dw, static_cast<uint32_t*>(tile.zipped) + key / 2 * tile.queries + t);
      }
    }
  }
}

void backward_tile_here(Type type, const TileForm& form, const BackwardTile& tile) {
  with_type(type, [&]<class T>(T*) {
    if (form.soft_cap > 0) {
      tile.masked ? backward_rows<T, true, true>(form, tile) : backward_rows<T, false, true>(form, tile);
    } else {
      tile.masked ? backward_rows<T, true, false>(form, tile) : backward_rows<T, false, false>(form, tile);
    }
  });
}

float dot_here(Type type, const void* a, const void* b, int64_t n) {
  float result = 0;
  with_type(type, [&]<class T>(T*) {
    const Floats d;
    const T *x = static_cast<const T*>(a), *y = static_cast<const T*>(b);
    const int64_t step = lanes();
    V total = hn::Zero(d);
    int64_t i = 0;
    for (; i + step <= n; i += step) total = hn::MulAdd(load(d, x + i), load(d, y + i), total);
    if (i < n) total = hn::MulAdd(load_some(x + i, n - i), load_some(y + i, n - i), total);
    result = sum(total);
  });
  return result;
}

void turn_out_here(Type type, const float* from, int64_t from_stride, int64_t rows, int64_t E, void* to,
                   int64_t to_stride) {
  with_type(type, [&]<class T>(T*) {
    const Floats d;
    const int64_t step = lanes();
    const auto offsets = hn::Mul(hn::Iota(Ints(), 0), hn::Set(Ints(), int32_t(from_stride)));
    for (int64_t r = 0; r < rows; ++r) {
      T* row = static_cast<T*>(to) + r * to_stride;
      int64_t e = 0;
      for (; e + step <= E; e += step) store(d, hn::GatherIndex(d, from + e * from_stride + r, offsets), row + e);
      for (; e < E; ++e) store_some(set(from[e * from_stride + r]), row + e, 1);
    }
  });
}

void narrow_here(Type type, const float* from, int64_t n, void* to) {
  with_type(type, [&]<class T>(T*) {
    map(
        n, static_cast<T*>(to), [](V v) { return v; }, from);
  });
}

}  // namespace accordion::op::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accordion::op::cpu {

HWY_EXPORT(turn_words_here);
HWY_EXPORT(zip_rows_here);
HWY_EXPORT(split_words_here);
HWY_EXPORT(softmax_tile_here);
HWY_EXPORT(finish_row_here);
HWY_EXPORT(backward_tile_here);
HWY_EXPORT(dot_here);
HWY_EXPORT(turn_out_here);
HWY_EXPORT(narrow_here);

void turn_words(const void* from, int64_t from_stride, int64_t rows, int64_t words, uint32_t* to, int64_t to_stride,
                int64_t padded) {
  HWY_DYNAMIC_DISPATCH(turn_words_here)(from, from_stride, rows, words, to, to_stride, padded);
}

void zip_rows(const bf16* from, int64_t from_stride, int64_t rows, int64_t E, bf16* to, int64_t padded) {
  HWY_DYNAMIC_DISPATCH(zip_rows_here)(from, from_stride, rows, E, to, padded);
}

void split_words(const uint32_t* from, int64_t words, int64_t columns, bf16* to) {
  HWY_DYNAMIC_DISPATCH(split_words_here)(from, words, columns, to);
}

void softmax_tile(Type type, const TileForm& form, const ForwardTile& tile) {
  HWY_DYNAMIC_DISPATCH(softmax_tile_here)(type, form, tile);
}

void finish_row(Type type, const float* sums, float total, int64_t E, void* output) {
  HWY_DYNAMIC_DISPATCH(finish_row_here)(type, sums, total, E, output);
}

void backward_tile(Type type, const TileForm& form, const BackwardTile& tile) {
  HWY_DYNAMIC_DISPATCH(backward_tile_here)(type, form, tile);
}

float dot(Type type, const void* a, const void* b, int64_t n) { return HWY_DYNAMIC_DISPATCH(dot_here)(type, a, b, n); }

void turn_out(Type type, const float* from, int64_t from_stride, int64_t rows, int64_t E, void* to, int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(turn_out_here)(type, from, from_stride, rows, E, to, to_stride);
}

void narrow(Type type, const float* from, int64_t n, void* to) { HWY_DYNAMIC_DISPATCH(narrow_here)(type, from, n, to); }

}  // namespace accordion::op::cpu
#endif
