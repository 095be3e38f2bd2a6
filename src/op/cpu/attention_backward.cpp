#include <ATen/Parallel.h>

#include <optional>
#include <vector>

#include "op/cpu/attention_parts.h"
#include "op/cpu/parallel.h"

namespace accordion::op::cpu {

namespace {

/// Rows of keys or values as the left side of a product, read where they lie. Tiles reach past the last row to a whole
/// tile: those rows are copied and padded with zeros.
template <class T>
class Rows {
 public:
  explicit Rows(int64_t E) : E_(E), tail_(kBackwardKeys * E) {}
  void lie_at(const T* from, int64_t stride, int64_t rows) {
    from_ = from;
    stride_ = stride;
    whole_ = rows / kBackwardKeys * kBackwardKeys;
    copy_rows(from + whole_ * stride, stride, rows - whole_, E_, tail_.data(), kBackwardKeys);
  }
  const T* at(int64_t row) const { return row < whole_ ? from_ + row * stride_ : tail_.data() + (row - whole_) * E_; }
  int64_t stride(int64_t row) const { return row < whole_ ? stride_ : E_; }

 private:
  int64_t E_;
  const T* from_ = nullptr;
  int64_t stride_ = 0, whole_ = 0;
  Buffer<T> tail_;
};

/// Room for one key/value head as the products want it, and for the sums of its gradients.
template <class T>
struct BackwardHead {
  BackwardHead(const AttentionCall& call, bool own_sums)
      : padded(rounded_up(call.S)),
        keys(call.E),
        values(call.E),
        turned_keys(padded * call.E),
        words(kType<T> == Type::f32 ? 0 : kBackwardKeys * call.E / 2) {
    if (own_sums) own.emplace(2 * padded * call.E);
  }

  /// Takes in head kv of row b. Its gradients add up in `sums`, or in its own room from zero.
  void begin(const AttentionCall& call, int64_t b, int64_t kv, const KeySums* sums) {
    const int64_t E = call.E;
    keys.lie_at(head_of<T>(call.k, b, kv), call.k.token, call.S);
    values.lie_at(head_of<T>(call.v, b, kv), call.v.token, call.S);
    for_panels(kBackwardKeys, 0, padded, [&](int64_t begin, int64_t end) {
      const T* from = head_of<T>(call.k, b, kv) + begin * call.k.token;
      const int64_t rows = std::min(end, call.S) - begin;
      if constexpr (std::is_same_v<T, float>) {
        pack_turned(from, call.k.token, rows, E, turned_keys.data() + begin * E, end - begin);
      } else {
        turn_words(from, call.k.token / 2, rows, E / 2, words.data(), end - begin, end - begin);
        split_words(words.data(), E / 2, end - begin, turned_keys.data() + begin * E);
      }
    });
    if (sums != nullptr) {
      dk = sums->dk + b * sums->row + kv * sums->head;
      dv = sums->dv + b * sums->row + kv * sums->head;
      return;
    }
    dk = own->data();
    dv = dk + padded * E;
    std::memset(dk, 0, size_t(2 * padded * E) * sizeof(float));
  }

  int64_t padded;
  Rows<T> keys, values;    ///< (S,E)
  Buffer<T> turned_keys;   ///< (E,S) by panels
  Buffer<uint32_t> words;  ///< of a panel
  std::optional<Buffer<float>> own;
  float *dk = nullptr, *dv = nullptr;  ///< (S,E)
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
    small_product(n, kQueries, E, head.keys.at(key), head.keys.stride(key), scratch.turned_queries.data(),
                  scratch.scores.data(), false);
    small_product(n, kQueries, E, head.values.at(key), head.values.stride(key), scratch.turned_doutput.data(),
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
    small_product(n, E, kQueries, scratch.weights.data(), kQueries, scratch.doutput.data(), head.dv + key * E, true);
    small_product(n, E, kQueries, scratch.dscores.data(), kQueries, scratch.queries.data(), head.dk + key * E, true);
    small_product(E, kQueries, n, head.turned_keys.data() + panel * E + key - panel, width, zipped, scratch.dq.data(),
                  true);
  });
  T* place = static_cast<T*>(dq) + ((b * call.T + begin) * call.H + h) * E;
  turn_out(kType<T>, scratch.dq.data(), kQueries, rows, E, place, call.H * E);
}

/// Adds up the `parts` of a head's dk or dv and gives them out: into the caller's f32 sums, or narrowed to (B,S,K,E).
template <class T>
void give_out(const AttentionCall& call, int64_t b, int64_t kv, const std::vector<float*>& parts, float* sums,
              void* result) {
  for (int64_t s = 0; s < call.S; ++s) {
    float* row = sums != nullptr ? sums + s * call.E : parts[0] + s * call.E;
    for (size_t part = sums != nullptr ? 0 : 1; part < parts.size(); ++part)
      add(Type::f32, parts[part] + s * call.E, 1, row, call.E);
    if (sums == nullptr)
      narrow(kType<T>, row, call.E, static_cast<T*>(result) + ((b * call.S + s) * call.K + kv) * call.E);
  }
}

template <class T>
void backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput, void* dq,
              const KeyGradients& gradients) {
  const int64_t blocks = (call.T + kQueries - 1) / kQueries, heads = call.B * call.K, group = call.H / call.K;
  // Too few heads for the threads: the queries of a head are dealt to several parts, each with sums of its own.
  const int64_t split = std::clamp<int64_t>((2 * at::get_num_threads() + heads - 1) / heads, 1,
                                            heads >= at::get_num_threads() ? 1 : blocks);
  const KeySums* sums = gradients.sums ? &*gradients.sums : nullptr;
  const auto give = [&](int64_t b, int64_t kv, const std::vector<float*>& dk, const std::vector<float*>& dv) {
    const int64_t place = sums != nullptr ? b * sums->row + kv * sums->head : 0;
    give_out<T>(call, b, kv, dk, sums != nullptr ? sums->dk + place : nullptr, gradients.dk);
    give_out<T>(call, b, kv, dv, sums != nullptr ? sums->dv + place : nullptr, gradients.dv);
  };
  // A head for each part, which are added up in the end, or else for each worker.
  const int64_t tasks = heads * split, workers = parallel_workers(tasks);
  std::vector<BackwardHead<T>> rooms;
  for (int64_t room = split > 1 ? tasks : workers; room > 0; --room)
    rooms.emplace_back(call, split > 1 || sums == nullptr);
  std::vector<BackwardScratch<T>> scratch;
  for (int64_t worker = 0; worker < workers; ++worker) scratch.emplace_back(call.E);
  parallel_tasks(tasks, [&](int64_t task, int64_t worker) {
    const int64_t b = task / split / call.K, kv = task / split % call.K, part = task % split;
    auto& head = rooms[size_t(split > 1 ? task : worker)];
    head.begin(call, b, kv, split > 1 ? nullptr : sums);
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      for (int64_t block = part; block < blocks; block += split) {
        backward_block(call, output, lse, doutput, b, h, block * kQueries, head, scratch[size_t(worker)], dq);
      }
    }
    end_small_products();
    if (split == 1 && sums == nullptr) give(b, kv, {head.dk}, {head.dv});
  });
  if (split == 1) return;
  parallel_tasks(heads, [&](int64_t task, int64_t) {
    std::vector<float*> dk, dv;
    for (int64_t part = 0; part < split; ++part) {
      dk.push_back(rooms[size_t(task * split + part)].dk);
      dv.push_back(rooms[size_t(task * split + part)].dv);
    }
    give(task / call.K, task % call.K, dk, dv);
  });
}

}  // namespace

void attention_backward(const AttentionCall& call, const Strided& output, const float* lse, const Strided& doutput,
                        void* dq, const KeyGradients& gradients) {
  if (call.type == Type::f32) {
    backward<float>(call, output, lse, doutput, dq, gradients);
  } else {
    backward<bf16>(call, output, lse, doutput, dq, gradients);
  }
}

}  // namespace accordion::op::cpu
