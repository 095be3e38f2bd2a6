#include <algorithm>
#include <optional>
#include <vector>

#include "op/attention_path.h"
#include "op/in_one_order.h"

// From CUDA's runtime, which a CUDA build of libtorch brings; missing with others. Its headers are not needed to build.
extern "C" __attribute__((weak)) int cudaDeviceGetAttribute(int* value, int attribute, int device);

namespace accordion::op {

using torch::Tensor;

namespace {

Tensor dense(const Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

/// A pass as the CUDA kernel wants it: rows of queries and keys whose last ones see each other, or, where rows hold
/// several pieces, all rows' pieces one after another with their beginnings.
struct Call {
  int64_t B, T, S, H, K, E;
  int64_t skip = 0;      ///< keys before this one are seen by nobody
  Tensor queries, keys;  ///< (pieces + 1) int32 beginnings; undefined = one piece a row
  int64_t most_queries, most_keys;
  std::optional<int64_t> left, right;  ///< keys seen before and after a query's own place

  Call(const Tensor& q, const Tensor& k, const AttentionForm& form, const Tensor& first)
      : B(q.size(0)),
        T(q.size(1)),
        S(k.size(1)),
        H(q.size(2)),
        K(k.size(2)),
        E(q.size(3)),
        skip(first.select(1, 0).min().item<int64_t>()),
        most_queries(T),
        most_keys(S - skip) {
    if (form.window > 0) {
      left = form.window - 1;
      right = 0;
    }
    find_pieces(first, q.device());
  }

  /// A query that sees no key before its own begins a piece.
  void find_pieces(const Tensor& first, torch::Device device) {
    std::vector<int> query_begins, key_begins;
    for (int64_t b = 0; b < B; ++b) {
      const auto* see = first.const_data_ptr<int64_t>() + b * T;
      for (int64_t t = 0; t < T; ++t) {
        if (t > 0 && see[t] != t + S - T) continue;
        query_begins.push_back(int(b * T + t));
        key_begins.push_back(int(b * (S - skip) + see[t] - skip));
      }
    }
    if (int64_t(query_begins.size()) == B) return;
    query_begins.push_back(int(B * T));
    key_begins.push_back(int(B * (S - skip)));
    const auto most = [](const std::vector<int>& begins) {
      int longest = 0;
      for (size_t i = 1; i < begins.size(); ++i) longest = std::max(longest, begins[i] - begins[i - 1]);
      return int64_t(longest);
    };
    most_queries = most(query_begins);
    most_keys = most(key_begins);
    queries = torch::tensor(query_begins, torch::kInt).to(device);
    keys = torch::tensor(key_begins, torch::kInt).to(device);
  }

  bool varied() const { return queries.defined(); }
  int64_t pieces() const { return varied() ? queries.numel() - 1 : B; }
  /// Of all heads or some.
  Tensor of_queries(const Tensor& x) const { return varied() ? x.reshape({B * T, x.size(2), E}) : dense(x); }
  Tensor of_keys(const Tensor& x) const {
    const Tensor seen = x.slice(1, skip);
    return varied() ? seen.reshape({B * (S - skip), x.size(2), E}) : dense(seen);
  }
  /// lse is (B,H,T), or (H,B*T) in the kernel's form for pieces.
  Tensor lse_out(const Tensor& x) const { return varied() ? x.reshape({H, B, T}).transpose(0, 1) : x; }
  Tensor lse_in(const Tensor& x) const {
    return varied() ? x.transpose(0, 1).reshape({x.size(1), B * T}) : x.contiguous();
  }
};

AttentionResult cuda_flash(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                           const Tensor& first) {
  const Call call(q, k, form, first);
  const auto begins = [&](const Tensor& x) { return call.varied() ? std::optional<Tensor>(x) : std::nullopt; };
  const auto results = at::_flash_attention_forward(
      call.of_queries(q), call.of_keys(k), call.of_keys(v), begins(call.queries), begins(call.keys), call.most_queries,
      call.most_keys, /*dropout_p=*/0.0, /*is_causal=*/true,
      /*return_debug_mask=*/false, std::optional<double>(form.scale), call.left, call.right);
  return {std::get<0>(results).reshape(q.sizes()), call.lse_out(std::get<1>(results))};
}

int64_t multiprocessors(torch::Device device) {
  constexpr int kMultiProcessorCount = 16;  // cudaDevAttrMultiProcessorCount
  int count = 0;
  if (cudaDeviceGetAttribute == nullptr || cudaDeviceGetAttribute(&count, kMultiProcessorCount, device.index()) != 0)
    return 0;
  return count;
}

/// Of the heads that are left, so many that the backward kernel fills the multiprocessors whole times. In one order it
/// starts ceil(multiprocessors / (pieces * heads)) blocks of threads for each head of a piece, and a multiprocessor
/// holds about one: with 32 heads on 132 of them 160 blocks, which take as long as 264. `group` heads share keys.
int64_t heads_at_once(int64_t left, int64_t group, int64_t pieces, int64_t processors) {
  if (processors == 0) return left;
  for (int64_t heads = left; heads > 0; heads -= group) {
    const int64_t in_all = pieces * heads;
    if ((processors + in_all - 1) / in_all * in_all % processors == 0) return heads;
  }
  return left;
}

AttentionGradients cuda_flash_backward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                                       const Tensor& first, const AttentionResult& result, const Tensor& doutput,
                                       const KeyGradientSums* sums) {
  const Call call(q, k, form, first);
  const int64_t group = call.H / call.K, processors = multiprocessors(q.device());
  const Tensor no_dropout = torch::empty({2}, q.options().dtype(torch::kLong));  // its random state: not read
  AttentionGradients d{torch::empty(q.sizes(), q.options()), {}, {}};            // (B,T,H,E)
  if (sums == nullptr) {
    d.dk = torch::empty(k.sizes(), k.options());  // (B,S,K,E)
    d.dv = torch::empty(v.sizes(), v.options());  // (B,S,K,E)
    for (const Tensor& unseen : {d.dk.slice(1, 0, call.skip), d.dv.slice(1, 0, call.skip)}) unseen.zero_();
  }
  for (int64_t begin = 0, end = 0; begin < call.H; begin = end) {
    end = begin + heads_at_once(call.H - begin, group, call.pieces(), processors);
    const auto heads = [&](const Tensor& x) { return call.of_queries(x.slice(2, begin, end)); };
    const auto keys = [&](const Tensor& x) { return call.of_keys(x.slice(2, begin / group, end / group)); };
    const InOneOrder in_one_order;
    const auto [dq, dk, dv] = at::_flash_attention_backward(
        heads(doutput), heads(q), keys(k), keys(v), heads(result.output), call.lse_in(result.lse.slice(1, begin, end)),
        call.queries, call.keys, call.most_queries, call.most_keys, /*dropout_p=*/0.0, /*is_causal=*/true, no_dropout,
        no_dropout, std::optional<double>(form.scale), call.left, call.right);
    d.dq.slice(2, begin, end).copy_(dq.reshape({call.B, call.T, end - begin, call.E}));
    const auto give = [&, first_head = begin](const Tensor& gradient, const Tensor& whole, const Tensor* sum) {
      const int64_t from = first_head / group, count = (end - first_head) / group;
      const Tensor seen = gradient.reshape({call.B, call.S - call.skip, count, call.E});
      if (sum == nullptr) {
        whole.slice(1, call.skip).slice(2, from, from + count).copy_(seen);
      } else {
        sum->slice(1, from, from + count).slice(2, call.skip, call.S).add_(seen.transpose(1, 2));
      }
    };
    give(dk, d.dk, sums == nullptr ? nullptr : &sums->dk);
    give(dv, d.dv, sums == nullptr ? nullptr : &sums->dv);
  }
  return d;
}

}  // namespace

bool cuda_flash_works(const Tensor& q, const AttentionForm& form) {
  const auto type = q.scalar_type();
  if (!q.is_cuda() || (type != torch::kBFloat16 && type != torch::kHalf) || q.size(3) % 8 != 0 || q.size(3) > 256 ||
      form.soft_cap > 0 || form.alibi_slopes.defined())
    return false;
  static const bool here = [&] {
    try {
      const Tensor x = torch::zeros({1, 1, 1, 8}, q.options().requires_grad(false));
      cuda_flash(x, x, x, {}, torch::zeros({1, 1}, torch::kLong));
      return true;
    } catch (const c10::Error&) {
      return false;
    }
  }();
  return here;
}

AttentionResult attention_flash(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                                const Tensor& first) {
  if (q.is_cuda()) return cuda_flash(q, k, v, form, first);
  const auto [output, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
      q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), 0.0, /*is_causal=*/true, {}, form.scale);
  return {output.transpose(1, 2), lse};
}

AttentionGradients attention_flash_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                            const AttentionForm& form, const Tensor& first,
                                            const AttentionResult& result, const Tensor& doutput,
                                            const KeyGradientSums* sums) {
  if (q.is_cuda()) return cuda_flash_backward(q, k, v, form, first, result, doutput, sums);
  TORCH_CHECK(sums == nullptr, "the processor's flash kernel gives no sums");
  const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      doutput.transpose(1, 2), q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), result.output.transpose(1, 2),
      result.lse, 0.0, true, {}, form.scale);
  return {dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2)};
}

}  // namespace accordion::op
