#include <limits>

#include "op/attention.h"
#include "op/attention_path.h"
#include "op/cpu/tensors.h"

namespace accordion::op {

using torch::Tensor;

namespace {

/// (B,T) number of the piece that each token belongs to.
Tensor piece_numbers(const Pieces& pieces, int64_t length) {
  Tensor numbers = torch::empty({int64_t(pieces.size()), length}, torch::kLong);
  for (size_t row = 0; row < pieces.size(); ++row) {
    int64_t begin = 0, number = 0;
    for (const int64_t piece : pieces[row]) {
      numbers[int64_t(row)].slice(0, begin, begin + piece).fill_(number++);
      begin += piece;
    }
  }
  return numbers;
}

}  // namespace

AttentionResult plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form) {
  check_attention(q, k, v, form);
  const int64_t T = q.size(1), H = q.size(2), S = k.size(1), group = H / k.size(2);
  const auto type = cpu::wide_type(q);
  const Tensor queries = q.transpose(1, 2);                                            // (B,H,T,E)
  const Tensor keys = k.transpose(1, 2).repeat_interleave(group, 1);                   // (B,H,S,E)
  const Tensor values = v.transpose(1, 2).repeat_interleave(group, 1);                 // (B,H,S,E)
  Tensor scores = torch::matmul(queries, keys.transpose(2, 3)).to(type) * form.scale;  // (B,H,T,S)
  if (form.soft_cap > 0) scores = torch::tanh(scores / form.soft_cap) * form.soft_cap;
  const Tensor at_query = (torch::arange(T, torch::kLong) + (S - T)).unsqueeze(1).to(q.device());  // (T,1)
  const Tensor at_key = torch::arange(S, torch::kLong).unsqueeze(0).to(q.device());                // (1,S)
  if (form.alibi_slopes.defined()) {
    scores = scores + form.alibi_slopes.to(type).view({H, 1, 1}) * (at_key - at_query).to(type);
  }
  Tensor seen = at_key <= at_query;  // (T,S)
  if (form.window > 0) seen = seen & (at_key > at_query - form.window);
  if (!form.pieces.empty()) {
    const Tensor number = piece_numbers(form.pieces, T).to(q.device());       // (B,T)
    seen = seen & (number.unsqueeze(2) == number.unsqueeze(1)).unsqueeze(1);  // (B,1,T,S)
  }
  scores = scores.masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
  const Tensor output = torch::matmul(scores.softmax(-1).to(q.scalar_type()), values);  // (B,H,T,E)
  return {output.transpose(1, 2), scores.logsumexp(-1).detach()};
}

}  // namespace accordion::op
