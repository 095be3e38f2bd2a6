#include "op/cpu/attention.h"

#include <vector>

#include "op/cpu/attention_parts.h"
#include "op/cpu/parallel.h"

namespace accordion::op::cpu {

namespace {

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
  parallel_tasks(call.B * call.K, [&](int64_t task, int64_t) {
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
  std::vector<ForwardScratch<T>> scratch;
  for (int64_t worker = parallel_workers(heads * stretches); worker > 0; --worker) scratch.emplace_back(call.E);
  parallel_tasks(heads * stretches, [&](int64_t task, int64_t worker) {
    const int64_t b = task % heads / call.H, h = task % call.H, kv = b * call.K + h / (call.H / call.K);
    const int64_t top = blocks - task / heads * stretch;
    for (int64_t block = std::max<int64_t>(0, top - stretch); block < top; ++block) {
      forward_block(call, b, h, block * kQueries, keys.data() + kv * size, values.data() + kv * size,
                    scratch[size_t(worker)], output, lse);
    }
    end_small_products();
  });
}

}  // namespace

bool attention_works(Type type, int64_t E) { return E % 2 == 0 && small_products_work(type); }

void attention_forward(const AttentionCall& call, void* output, float* lse) {
  call.type == Type::f32 ? forward<float>(call, output, lse) : forward<bf16>(call, output, lse);
}

}  // namespace accordion::op::cpu
