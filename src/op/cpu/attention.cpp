#include "op/cpu/attention.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "op/cpu/attention_tiles.h"
#include "op/cpu/parallel.h"

namespace accordion::op::cpu {

namespace {

constexpr int64_t kQueries = 64;       // of a tile
constexpr int64_t kForwardKeys = 512;  // of a tile: rows up to this length need no rescaling
constexpr int64_t kBackwardKeys = 128;
constexpr int64_t kAlign = 64;  // packed keys are a multiple of this: few shapes of products, no ragged vectors

int64_t rounded_up(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }
int64_t rounded_down(int64_t n) { return n / kAlign * kAlign; }

/// Uninitialised memory from libtorch's allocator, which counts and keeps it.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : memory_(c10::GetCPUAllocator()->allocate(size_t(n) * sizeof(T))) {}
  T* data() const { return static_cast<T*>(memory_.get()); }

 private:
  c10::DataPtr memory_;
};

/// c (m,n) = a (m,k) b (k,n), or += ; bf16 wants b in zipped pairs of rows.
void small_product(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, float* c, bool add) {
  at::native::cpublas::brgemm(m, n, k, lda, n, n, add, a, b, c, /*is_vnni=*/false);
}
void small_product(int64_t m, int64_t n, int64_t k, const bf16* a, int64_t lda, const bf16* b, float* c, bool add) {
  at::native::cpublas::brgemm(m, n, k, lda, n, n, add, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c, /*is_vnni=*/true);
}
/// The same where the rows of b and c are `ldb` and `ldc` values apart.
void small_product(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                   int64_t ldc) {
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, false, a, b, c, /*is_vnni=*/false);
}
void small_product(int64_t m, int64_t n, int64_t k, const bf16* a, int64_t lda, const bf16* b, int64_t ldb, float* c,
                   int64_t ldc) {
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, false, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c, /*is_vnni=*/true);
}

template <class T>
constexpr Type kType = std::is_same_v<T, float> ? Type::f32 : Type::bf16;
template <class T>
constexpr int64_t kPair = std::is_same_v<T, float> ? 1 : 2;  ///< values in a 32-bit word

template <class T>
const T* head_of(const Strided& tensor, int64_t b, int64_t h) {
  return static_cast<const T*>(tensor.data) + b * tensor.row + h * tensor.head;
}

/// (rows,E) turned and zipped: what a product wants as its right side for from^T. to (E / kPair, padded) words.
template <class T>
void pack_turned(const T* from, int64_t stride, int64_t rows, int64_t E, T* to, int64_t padded) {
  turn_words(from, stride / kPair<T>, rows, E / kPair<T>, reinterpret_cast<uint32_t*>(to), padded, padded);
}

/// (rows,E) as the right side of a product, rows padded with zeros.
void pack_straight(const bf16* from, int64_t stride, int64_t rows, int64_t E, bf16* to, int64_t padded) {
  zip_rows(from, stride, rows, E, to, padded);
}
/// (rows,E) dense, rows padded with zeros.
template <class T>
void copy_rows(const T* from, int64_t stride, int64_t rows, int64_t E, T* to, int64_t padded) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * E, from + r * stride, size_t(E) * sizeof(T));
  std::memset(static_cast<void*>(to + rows * E), 0, size_t((padded - rows) * E) * sizeof(T));
}
void pack_straight(const float* from, int64_t stride, int64_t rows, int64_t E, float* to, int64_t padded) {
  copy_rows(from, stride, rows, E, to, padded);
}

/// Calls work(begin, end) for the stretches of [from, to) that lie within one panel. Turned keys are packed by panels,
/// so that their rows lie close together (a power of two apart they would fight for the same cache lines) and products
/// come in few shapes.
template <class Work>
void for_panels(int64_t panel, int64_t from, int64_t to, Work work) {
  for (int64_t begin = from; begin < to;) {
    const int64_t end = std::min(to, (begin / panel + 1) * panel);
    work(begin, end);
    begin = end;
  }
}

/// First key that each of the queries [begin, ...) of row b sees.
const int64_t* first_of(const AttentionCall& call, int64_t b, int64_t begin) { return call.first + b * call.T + begin; }

TileForm form_of(const AttentionCall& call, int64_t h) {
  return {call.scale, call.soft_cap, call.slopes == nullptr ? 0.0F : call.slopes[h]};
}

// ---- forward

template <class T>
struct ForwardScratch {
  explicit ForwardScratch(int64_t E)
      : scores(kQueries * kForwardKeys),
        sums(kQueries * E),
        largest(kQueries),
        total(kQueries),
        weights(kQueries * kForwardKeys),
        queries(kQueries * E) {}
  Buffer<float> scores, sums, largest, total;
  Buffer<T> weights, queries;
};

/// Queries [begin, begin + 64) of head h of row b over all keys that any of them sees. keys: k^T packed (E, padded),
/// values: v packed (padded, E).
template <class T>
void forward_block(const AttentionCall& call, int64_t b, int64_t h, int64_t begin, const T* keys, const T* values,
                   ForwardScratch<T>& scratch, void* output, float* lse) {
  const int64_t E = call.E, rows = std::min(kQueries, call.T - begin), padded = rounded_up(call.S);
  const int64_t* first = first_of(call, b, begin);
  const T* queries = head_of<T>(call.q, b, h) + begin * call.q.token;
  int64_t query_stride = call.q.token;
  if (rows < kQueries) {  // products of one shape only
    copy_rows(queries, query_stride, rows, E, scratch.queries.data(), kQueries);
    queries = scratch.queries.data();
    query_stride = E;
  }
  std::fill_n(scratch.largest.data(), rows, -INFINITY);
  std::fill_n(scratch.total.data(), rows, 0.0F);
  std::memset(scratch.sums.data(), 0, size_t(kQueries * E) * sizeof(float));

  const int64_t last = begin + call.S - call.T;  // key that the first of the queries sees last
  const int64_t from = rounded_down(first[0]), to = rounded_up(last + rows);
  for_panels(kForwardKeys, from, to, [&](int64_t key, int64_t end) {
    const int64_t n = end - key, panel = key / kForwardKeys * kForwardKeys,
                  width = std::min(kForwardKeys, padded - panel);
    const T* turned = keys + panel * E + (key - panel) * kPair<T>;
    small_product(kQueries, n, E, queries, query_stride, turned, width, scratch.scores.data(), n);
    softmax_tile(kType<T>, form_of(call, h),
                 {rows, n, E, scratch.scores.data(), first, key, last - key, scratch.weights.data(),
                  scratch.largest.data(), scratch.total.data(), scratch.sums.data()});
    small_product(kQueries, E, n, scratch.weights.data(), n, values + key * E, scratch.sums.data(), true);
  });
  for (int64_t r = 0; r < rows; ++r) {
    T* place = static_cast<T*>(output) + ((b * call.T + begin + r) * call.H + h) * E;
    finish_row(kType<T>, scratch.sums.data() + r * E, scratch.total.data()[r], E, place);
    lse[(b * call.H + h) * call.T + begin + r] = scratch.largest.data()[r] + std::log(scratch.total.data()[r]);
  }
}

template <class T>
void forward(const AttentionCall& call, void* output, float* lse) {
  const int64_t padded = rounded_up(call.S), size = padded * call.E, blocks = (call.T + kQueries - 1) / kQueries;
  const Buffer<T> keys(call.B * call.K * size), values(call.B * call.K * size);
  parallel_tasks(call.B * call.K, [&](int64_t task) {
    const int64_t b = task / call.K, h = task % call.K;
    for_panels(kForwardKeys, 0, padded, [&](int64_t begin, int64_t end) {
      pack_turned(head_of<T>(call.k, b, h) + begin * call.k.token, call.k.token, std::min(end, call.S) - begin, call.E,
                  keys.data() + task * size + begin * call.E, end - begin);
    });
    pack_straight(head_of<T>(call.v, b, h), call.v.token, call.S, call.E, values.data() + task * size, padded);
  });
  // A few blocks a task, the long ones first, so that the threads end together.
  const int64_t heads = call.B * call.H, stretch = blocks <= 8 ? blocks : (blocks + 7) / 8;
  const int64_t stretches = (blocks + stretch - 1) / stretch;
  parallel_tasks(heads * stretches, [&](int64_t task) {
    const int64_t b = task % heads / call.H, h = task % call.H, kv = b * call.K + h / (call.H / call.K);
    const int64_t top = blocks - task / heads * stretch;
    ForwardScratch<T> scratch(call.E);
    for (int64_t block = std::max<int64_t>(0, top - stretch); block < top; ++block) {
      forward_block(call, b, h, block * kQueries, keys.data() + kv * size, values.data() + kv * size, scratch, output,
                    lse);
    }
    at::native::cpublas::brgemm_release();
  });
}

// ---- backward

/// One key/value head as the products want it, and the sums of its gradients.
template <class T>
struct BackwardHead {
  BackwardHead(const AttentionCall& call, int64_t b, int64_t kv)
      : padded(rounded_up(call.S)),
        keys(padded * call.E),
        values(padded * call.E),
        turned_keys(padded * call.E),
        dk(padded * call.E),
        dv(padded * call.E) {
    const int64_t E = call.E;
    const T *k = head_of<T>(call.k, b, kv), *v = head_of<T>(call.v, b, kv);
    copy_rows(k, call.k.token, call.S, E, keys.data(), padded);
    copy_rows(v, call.v.token, call.S, E, values.data(), padded);
    for_panels(kBackwardKeys, 0, padded, [&](int64_t begin, int64_t end) {
      const T* from = k + begin * call.k.token;
      const int64_t rows = std::min(end, call.S) - begin;
      if constexpr (std::is_same_v<T, float>) {
        pack_turned(from, call.k.token, rows, E, turned_keys.data() + begin * E, end - begin);
      } else {
        const Buffer<uint32_t> words(kBackwardKeys * E / 2);
        turn_words(from, call.k.token / 2, rows, E / 2, words.data(), end - begin, end - begin);
        split_words(words.data(), E / 2, end - begin, turned_keys.data() + begin * E);
      }
    });
    std::memset(dk.data(), 0, size_t(padded * E) * sizeof(float));
    std::memset(dv.data(), 0, size_t(padded * E) * sizeof(float));
  }

  int64_t padded;
  Buffer<T> keys, values, turned_keys;  ///< (S,E), (S,E), (E,S) by panels
  Buffer<float> dk, dv;                 ///< (S,E)
};

template <class T>
struct BackwardScratch {
  explicit BackwardScratch(int64_t E)
      : turned_queries(kQueries * E),
        turned_doutput(kQueries * E),
        queries(kQueries * E),
        doutput(kQueries * E),
        weights(kQueries * kBackwardKeys),
        dscores(kQueries * kBackwardKeys),
        zipped(kQueries * kBackwardKeys),
        scores(kQueries * kBackwardKeys),
        dweights(kQueries * kBackwardKeys),
        dq(kQueries * E),
        lse(kQueries),
        delta(kQueries),
        before(kQueries),
        after(kQueries) {}
  Buffer<T> turned_queries, turned_doutput;  ///< (E,64) packed
  Buffer<T> queries, doutput;                ///< (64,E) packed
  Buffer<T> weights, dscores, zipped;        ///< (keys,64)
  Buffer<float> scores, dweights;            ///< (keys,64)
  Buffer<float> dq;                          ///< (E,64)
  Buffer<float> lse, delta;                  ///< (64)
  Buffer<int32_t> before, after;             ///< (64)
};

template <class T>
void pack_queries(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput, int64_t b,
                  int64_t h, int64_t begin, int64_t rows, BackwardScratch<T>& scratch) {
  const int64_t E = call.E;
  const T* q = head_of<T>(call.q, b, h) + begin * call.q.token;
  const T* o = head_of<T>(output, b, h) + begin * output.token;
  const T* d_o = head_of<T>(doutput, b, h) + begin * doutput.token;
  pack_turned(q, call.q.token, rows, E, scratch.turned_queries.data(), kQueries);
  pack_turned(d_o, doutput.token, rows, E, scratch.turned_doutput.data(), kQueries);
  pack_straight(q, call.q.token, rows, E, scratch.queries.data(), kQueries);
  pack_straight(d_o, doutput.token, rows, E, scratch.doutput.data(), kQueries);
  for (int64_t r = 0; r < kQueries; ++r) {
    const bool real = r < rows;
    scratch.lse.data()[r] = real ? lse[(b * call.H + h) * call.T + begin + r] : INFINITY;  // weight e^-inf = 0
    scratch.delta.data()[r] = real ? dot(kType<T>, o + r * output.token, d_o + r * doutput.token, E) : 0;
  }
  std::memset(scratch.dq.data(), 0, size_t(kQueries * E) * sizeof(float));
}

template <class T>
void backward_block(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput,
                    int64_t b, int64_t h, int64_t begin, const BackwardHead<T>& head, BackwardScratch<T>& scratch,
                    void* dq) {
  const int64_t E = call.E, rows = std::min(kQueries, call.T - begin), last = begin + call.S - call.T;
  pack_queries(call, output, lse, doutput, b, h, begin, rows, scratch);
  const int64_t* first = first_of(call, b, begin);
  const int64_t from = rounded_down(first[0]), to = rounded_up(last + rows);
  for_panels(kBackwardKeys, from, to, [&](int64_t key, int64_t end) {
    const int64_t n = end - key, panel = key / kBackwardKeys * kBackwardKeys;
    const int64_t width = std::min(kBackwardKeys, head.padded - panel);
    small_product(n, kQueries, E, head.keys.data() + key * E, E, scratch.turned_queries.data(), scratch.scores.data(),
                  false);
    small_product(n, kQueries, E, head.values.data() + key * E, E, scratch.turned_doutput.data(),
                  scratch.dweights.data(), false);
    for (int64_t r = 0; r < kQueries; ++r) {
      const bool real = r < rows;
      scratch.before.data()[r] = real ? int32_t(std::clamp<int64_t>(first[r] - key - 1, -1, n)) : int32_t(n);
      scratch.after.data()[r] = real ? int32_t(std::clamp<int64_t>(last + r + 1 - key, 0, n)) : 0;
    }
    const bool masked = first[rows - 1] > key || last + 1 < key + n || rows < kQueries;
    backward_tile(kType<T>, form_of(call, h),
                  {n, kQueries, scratch.scores.data(), scratch.dweights.data(), scratch.lse.data(),
                   scratch.delta.data(), scratch.before.data(), scratch.after.data(), int32_t(key - last), masked,
                   scratch.weights.data(), scratch.dscores.data(), scratch.zipped.data()});
    const T* zipped = std::is_same_v<T, float> ? scratch.dscores.data() : scratch.zipped.data();
    small_product(n, E, kQueries, scratch.weights.data(), kQueries, scratch.doutput.data(), head.dv.data() + key * E,
                  true);
    small_product(n, E, kQueries, scratch.dscores.data(), kQueries, scratch.queries.data(), head.dk.data() + key * E,
                  true);
    small_product(E, kQueries, n, head.turned_keys.data() + panel * E + key - panel, width, zipped, scratch.dq.data(),
                  true);
  });
  T* place = static_cast<T*>(dq) + ((b * call.T + begin) * call.H + h) * E;
  turn_out(kType<T>, scratch.dq.data(), kQueries, rows, E, place, call.H * E);
}

/// Sums of `split` parts into dk or dv (B,S,K,E).
template <class T>
void give_out(const AttentionCall& call, int64_t b, int64_t kv, float* const* parts, int64_t split, void* result) {
  for (int64_t s = 0; s < call.S; ++s) {
    float* row = parts[0] + s * call.E;
    for (int64_t part = 1; part < split; ++part) add(Type::f32, parts[part] + s * call.E, 1, row, call.E);
    narrow(kType<T>, row, call.E, static_cast<T*>(result) + ((b * call.S + s) * call.K + kv) * call.E);
  }
}

template <class T>
void backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput, void* dq,
              void* dk, void* dv) {
  const int64_t blocks = (call.T + kQueries - 1) / kQueries, heads = call.B * call.K, group = call.H / call.K;
  // Too few heads for the threads: the queries of a head are dealt to several parts, each with sums of its own.
  const int64_t split = std::clamp<int64_t>((2 * at::get_num_threads() + heads - 1) / heads, 1,
                                            heads >= at::get_num_threads() ? 1 : blocks);
  std::vector<std::unique_ptr<BackwardHead<T>>> parts(size_t(split > 1 ? heads * split : 0));
  parallel_tasks(heads * split, [&](int64_t task) {
    const int64_t b = task / split / call.K, kv = task / split % call.K, part = task % split;
    auto head = std::make_unique<BackwardHead<T>>(call, b, kv);
    BackwardScratch<T> scratch(call.E);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t block = part; block < blocks; block += split) {
        backward_block(call, output, lse, doutput, b, h, block * kQueries, *head, scratch, dq);
      }
    }
    at::native::cpublas::brgemm_release();
    if (split > 1) {
      parts[size_t(task)] = std::move(head);
      return;
    }
    float *keys = head->dk.data(), *values = head->dv.data();
    give_out<T>(call, b, kv, &keys, 1, dk);
    give_out<T>(call, b, kv, &values, 1, dv);
  });
  if (split == 1) return;
  parallel_tasks(heads, [&](int64_t task) {
    std::vector<float*> keys, values;
    for (int64_t part = 0; part < split; ++part) {
      keys.push_back(parts[size_t(task * split + part)]->dk.data());
      values.push_back(parts[size_t(task * split + part)]->dv.data());
    }
    give_out<T>(call, task / call.K, task % call.K, keys.data(), split, dk);
    give_out<T>(call, task / call.K, task % call.K, values.data(), split, dv);
  });
}

/// Tries one small product of each type: libtorch refuses where the processor lacks the instructions.
template <class T>
bool product_works() {
  try {
    std::vector<T> a(64 * 64), b(64 * 64);
    std::vector<float> ones(64 * 64, 1.0F), c(64 * 64);
    narrow(kType<T>, ones.data(), 64 * 64, a.data());
    narrow(kType<T>, ones.data(), 64 * 64, b.data());
    small_product(64, 64, 64, a.data(), 64, b.data(), c.data(), false);
    at::native::cpublas::brgemm_release();
    return std::all_of(c.begin(), c.end(), [](float value) { return value == 64; });
  } catch (const c10::Error&) {
    return false;
  }
}

}  // namespace

bool attention_works(Type type, int64_t E) {
  static const bool f32 = product_works<float>(), half = product_works<bf16>();
  return E % 2 == 0 && (type == Type::f32 ? f32 : half);
}

void attention_forward(const AttentionCall& call, void* output, float* lse) {
  call.type == Type::f32 ? forward<float>(call, output, lse) : forward<bf16>(call, output, lse);
}

void attention_backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput,
                        void* dq, void* dk, void* dv) {
  if (call.type == Type::f32) {
    backward<float>(call, output, lse, doutput, dq, dk, dv);
  } else {
    backward<bf16>(call, output, lse, doutput, dq, dk, dv);
  }
}

}  // namespace accordion::op::cpu
