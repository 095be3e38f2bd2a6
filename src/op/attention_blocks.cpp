#include <algorithm>
#include <limits>

#include "op/attention_path.h"
#include "op/cpu/tensors.h"

// Attention by tiles of libtorch's products: the path for every device, type and form. FlashAttention-2, algorithms 1
// and 2.
namespace accordion::op {

using torch::Tensor;

namespace {

constexpr int64_t kBlock = 256;  // queries and keys of a tile
const double kNever = -std::numeric_limits<double>::infinity();

/// (B,T,H,E) -> (B,K,G*T,E): the G = H / K heads that share keys lie one after another.
Tensor grouped(const Tensor& x, int64_t K) {
  const int64_t B = x.size(0), T = x.size(1), G = x.size(2) / K, E = x.size(3);
  return x.reshape({B, T, K, G, E}).permute({0, 2, 3, 1, 4}).reshape({B, K, G * T, E});
}

Tensor ungrouped(const Tensor& x, int64_t T) {
  const int64_t B = x.size(0), K = x.size(1), G = x.size(2) / T, E = x.size(3);
  return x.view({B, K, G, T, E}).permute({0, 3, 1, 2, 4}).reshape({B, T, K * G, E});
}

/// What the tiles of one call share.
struct Blocks {
  const AttentionForm& form;
  int64_t B, T, S, K, G;
  torch::ScalarType wide;
  Tensor first;       // (B,T) on the device
  Tensor first_host;  // (B,T)
  Tensor slopes;      // (K,G,1,1)

  Blocks(const Tensor& q, const Tensor& k, const AttentionForm& attention_form, const Tensor& first_keys)
      : form(attention_form),
        B(q.size(0)),
        T(q.size(1)),
        S(k.size(1)),
        K(k.size(2)),
        G(q.size(2) / K),
        wide(cpu::wide_type(q)),
        first(first_keys.to(q.device())),
        first_host(first_keys) {
    if (form.alibi_slopes.defined()) slopes = form.alibi_slopes.to(wide).view({K, G, 1, 1});
  }

  /// The keys that queries [begin, end) of any row see: [low, high).
  int64_t low(int64_t begin) const { return first_host.select(1, begin).min().item<int64_t>(); }
  int64_t high(int64_t end) const { return end + S - T; }

  /// Bent scores of queries [begin, end) and keys [from, to), -inf where unseen: (B,K,G,m,n). `slope` gets d bent / d
  /// (scale q.k).
  Tensor scores(const Tensor& q, const Tensor& k, int64_t begin, int64_t end, int64_t from, int64_t to,
                Tensor* slope) const {
    const int64_t m = end - begin, n = to - from;
    Tensor s = torch::matmul(q, k.transpose(2, 3)).to(wide).mul_(form.scale).view({B, K, G, m, n});
    if (form.soft_cap > 0) {
      const Tensor flat = torch::tanh(s / form.soft_cap);
      if (slope != nullptr) *slope = 1 - flat.square();
      s = flat * form.soft_cap;
    }
    const Tensor at_query = torch::arange(begin + S - T, end + S - T, first.options()).unsqueeze(1);  // (m,1)
    const Tensor at_key = torch::arange(from, to, first.options());                                   // (n)
    if (slopes.defined()) s = s + slopes * (at_key - at_query).to(wide);
    if (to - 1 <= begin + S - T && from >= first_host.select(1, end - 1).max().item<int64_t>()) return s;
    const Tensor unseen = (at_key > at_query) | (at_key < first.slice(1, begin, end).unsqueeze(2));  // (B,m,n)
    return s.masked_fill(unseen.view({B, 1, 1, m, n}), kNever);
  }
};

}  // namespace

AttentionResult attention_blocks(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                                 const Tensor& first) {
  const Blocks blocks(q, k, form, first);
  const int64_t B = blocks.B, T = blocks.T, K = blocks.K, G = blocks.G, E = q.size(3);
  const Tensor keys = k.transpose(1, 2), values = v.transpose(1, 2);  // (B,K,S,E)
  Tensor output = torch::empty(q.sizes(), q.options());               // (B,T,H,E)
  Tensor lse = torch::empty({B, K, G, T}, q.options().dtype(blocks.wide));
  for (int64_t begin = 0; begin < T; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, T), m = end - begin;
    const Tensor queries = grouped(q.slice(1, begin, end), K);  // (B,K,G*m,E)
    Tensor sums, total, largest;                                // (B,K,G,m,E), (B,K,G,m,1), (B,K,G,m,1)
    for (int64_t from = blocks.low(begin); from < blocks.high(end); from += kBlock) {
      const int64_t to = std::min(from + kBlock, blocks.high(end));
      const Tensor s = blocks.scores(queries, keys.slice(2, from, to), begin, end, from, to, nullptr);
      // A row may see nothing of this tile: a floor under the largest keeps -inf - -inf out.
      Tensor now = s.amax(-1, true).clamp_min(std::numeric_limits<float>::lowest());
      if (largest.defined()) now = torch::maximum(now, largest);
      const Tensor p = (s - now).exp();  // (B,K,G,m,n)
      const Tensor part = torch::matmul(p.to(q.scalar_type()).view({B, K, G * m, to - from}), values.slice(2, from, to))
                              .to(blocks.wide)
                              .view({B, K, G, m, E});
      const Tensor shrink = largest.defined() ? (largest - now).exp() : Tensor();
      sums = shrink.defined() ? sums * shrink + part : part;
      total = shrink.defined() ? total * shrink + p.sum(-1, true) : p.sum(-1, true);
      largest = now;
    }
    output.slice(1, begin, end).copy_(ungrouped((sums / total).view({B, K, G * m, E}), m));
    lse.slice(3, begin, end).copy_((largest + total.log()).squeeze(-1));
  }
  return {output, lse.view({B, K * G, T})};
}

AttentionGradients attention_blocks_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionForm& form, const Tensor& first,
                                             const AttentionResult& result, const Tensor& doutput,
                                             const KeyGradientSums* key_sums) {
  const Blocks blocks(q, k, form, first);
  const int64_t B = blocks.B, T = blocks.T, S = blocks.S, K = blocks.K, G = blocks.G, E = q.size(3);
  const auto type = q.scalar_type();
  const Tensor keys = k.transpose(1, 2), values = v.transpose(1, 2);  // (B,K,S,E)
  const auto sums = q.options().dtype(blocks.wide);
  Tensor dq = torch::empty(q.sizes(), q.options());                                   // (B,T,H,E)
  Tensor dk = key_sums != nullptr ? key_sums->dk : torch::zeros({B, K, S, E}, sums);  // (B,K,S',E)
  Tensor dv = key_sums != nullptr ? key_sums->dv : torch::zeros({B, K, S, E}, sums);  // (B,K,S',E)
  for (int64_t begin = 0; begin < T; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, T), m = end - begin;
    const Tensor queries = grouped(q.slice(1, begin, end), K), d_o = grouped(doutput.slice(1, begin, end), K);
    const Tensor o = grouped(result.output.slice(1, begin, end), K);  // (B,K,G*m,E)
    const Tensor delta = (o.to(blocks.wide) * d_o).sum(-1).view({B, K, G, m, 1});
    const Tensor lse = result.lse.view({B, K, G, T, 1}).slice(3, begin, end).to(blocks.wide);  // (B,K,G,m,1)
    Tensor dqueries = torch::zeros({B, K, G * m, E}, sums);
    for (int64_t from = blocks.low(begin); from < blocks.high(end); from += kBlock) {
      const int64_t to = std::min(from + kBlock, blocks.high(end)), n = to - from;
      const Tensor key = keys.slice(2, from, to), value = values.slice(2, from, to);
      Tensor slope;
      const Tensor s = blocks.scores(queries, key, begin, end, from, to, &slope);
      const Tensor p = (s - lse).exp();                                                             // (B,K,G,m,n)
      const Tensor dp = torch::matmul(d_o, value.transpose(2, 3)).to(blocks.wide).view(p.sizes());  // (B,K,G,m,n)
      Tensor ds = p * (dp - delta) * form.scale;
      if (slope.defined()) ds = ds * slope;
      const Tensor narrow_ds = ds.to(type).view({B, K, G * m, n}), narrow_p = p.to(type).view({B, K, G * m, n});
      dqueries.add_(torch::matmul(narrow_ds, key));
      dk.slice(2, from, to).add_(torch::matmul(narrow_ds.transpose(2, 3), queries));
      dv.slice(2, from, to).add_(torch::matmul(narrow_p.transpose(2, 3), d_o));
    }
    dq.slice(1, begin, end).copy_(ungrouped(dqueries, m));
  }
  if (key_sums != nullptr) return {dq, {}, {}};
  return {dq, dk.transpose(1, 2).to(type).contiguous(), dv.transpose(1, 2).to(type).contiguous()};
}

}  // namespace accordion::op
