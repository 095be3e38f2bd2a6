#include "op/attention.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "op/attention_path.h"
#include "op/cpu/attention.h"
#include "op/cpu/tensors.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

bool plain_causal(const Tensor& q, const Tensor& k, const AttentionForm& form) {
  return q.size(1) == k.size(1) && form.soft_cap == 0 && form.window == 0 && !form.alibi_slopes.defined() &&
         form.pieces.empty();
}

/// The kernels read 32 bits at a time.
Tensor readable(const Tensor& x) {
  const bool even = x.stride(0) % 2 == 0 && x.stride(1) % 2 == 0 && x.stride(2) % 2 == 0;
  return x.stride(3) == 1 && even && x.storage_offset() % 2 == 0 ? x : x.contiguous();
}

cpu::Strided strided(const Tensor& x) { return {x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)}; }

Tensor slopes_of(const AttentionForm& form) {
  return form.alibi_slopes.defined() ? form.alibi_slopes.to(torch::kFloat).contiguous() : Tensor();
}

cpu::AttentionCall call_of(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                           const Tensor& slopes, const Tensor& first) {
  return {*cpu::kernel_type(q),
          q.size(0),
          q.size(1),
          k.size(1),
          q.size(2),
          k.size(2),
          q.size(3),
          strided(q),
          strided(k),
          strided(v),
          float(form.scale),
          float(form.soft_cap),
          slopes.defined() ? slopes.const_data_ptr<float>() : nullptr,
          first.const_data_ptr<int64_t>()};
}

AttentionResult fused(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                      const Tensor& first) {
  const Tensor slopes = slopes_of(form);
  Tensor output = torch::empty(q.sizes(), q.options());                                            // (B,T,H,E)
  Tensor lse = torch::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(torch::kFloat));  // (B,H,T)
  RECORD_USER_SCOPE("accordion::attention");
  cpu::attention_forward(call_of(q, k, v, form, slopes, first), output.mutable_data_ptr(),
                         lse.mutable_data_ptr<float>());
  return {output, lse};
}

AttentionGradients fused_backward(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                                  const Tensor& first, const AttentionResult& result, const Tensor& doutput,
                                  const KeyGradientSums* sums) {
  const Tensor slopes = slopes_of(form);
  AttentionGradients d{torch::empty(q.sizes(), q.options()), {}, {}};
  cpu::KeyGradients place;
  if (sums != nullptr) {
    TORCH_CHECK(sums->dk.size(2) >= cpu::rounded_up(k.size(1)), "sums of ", k.size(1), " keys want room for ",
                cpu::rounded_up(k.size(1)), ", got ", sums->dk.sizes());
    place.sums = {sums->dk.mutable_data_ptr<float>(), sums->dv.mutable_data_ptr<float>(), sums->dk.stride(0),
                  sums->dk.stride(1)};
  } else {
    d.dk = torch::empty(k.sizes(), k.options());
    d.dv = torch::empty(v.sizes(), v.options());
    place.dk = d.dk.mutable_data_ptr();
    place.dv = d.dv.mutable_data_ptr();
  }
  RECORD_USER_SCOPE("accordion::attention_backward");
  cpu::attention_backward(call_of(q, k, v, form, slopes, first), strided(result.output),
                          result.lse.const_data_ptr<float>(), strided(doutput), d.dq.mutable_data_ptr(), place);
  return d;
}

/// Attention is a formula of the shape and form, so the saved state is q, k, v, output and lse whichever path runs.
struct Attention : torch::autograd::Function<Attention> {
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                               AttentionPath path, const AttentionForm& form) {
    const bool needs_first = path != AttentionPath::flash || q.is_cuda();
    const Tensor first = needs_first ? first_keys(form, q.size(0), q.size(1), k.size(1)) : Tensor();
    const AttentionResult result = attend(path, q, k, v, form, first);
    context->save_for_backward({q, k, v, result.output, result.lse, first, form.alibi_slopes});
    context->saved_data["path"] = int64_t(path);
    context->saved_data["scale"] = form.scale;
    context->saved_data["soft_cap"] = form.soft_cap;
    context->saved_data["window"] = form.window;
    context->mark_non_differentiable({result.lse});
    return {result.output, result.lse};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    AttentionForm form;  // pieces are in `first`
    form.scale = context->saved_data["scale"].toDouble();
    form.soft_cap = context->saved_data["soft_cap"].toDouble();
    form.window = context->saved_data["window"].toInt();
    form.alibi_slopes = saved[6];
    const AttentionGradients d = attend_backward(AttentionPath(context->saved_data["path"].toInt()), saved[0], saved[1],
                                                 saved[2], form, saved[5], {saved[3], saved[4]}, gradients[0], nullptr);
    return {d.dq, d.dk, d.dv, Tensor(), Tensor()};
  }
};

}  // namespace

AttentionResult attend(AttentionPath path, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form,
                       const Tensor& first) {
  switch (path) {
    case AttentionPath::fused:
      return fused(readable(q), readable(k), readable(v), form, first);
    case AttentionPath::flash:
      return attention_flash(q, k, v, form, first);
    case AttentionPath::blocks:
      return attention_blocks(q, k, v, form, first);
  }
  TORCH_CHECK(false, "unknown path");
}

AttentionGradients attend_backward(AttentionPath path, const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionForm& form, const Tensor& first, const AttentionResult& result,
                                   const Tensor& doutput, const KeyGradientSums* sums) {
  switch (path) {
    case AttentionPath::fused:
      return fused_backward(readable(q), readable(k), readable(v), form, first, result, readable(doutput), sums);
    case AttentionPath::flash:
      return attention_flash_backward(q, k, v, form, first, result, doutput, sums);
    case AttentionPath::blocks:
      return attention_blocks_backward(q, k, v, form, first, result, doutput, sums);
  }
  TORCH_CHECK(false, "unknown path");
}

void check_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && k.sizes() == v.sizes() && q.size(0) == k.size(0) &&
                  q.size(3) == k.size(3) && q.size(2) % k.size(2) == 0 && q.size(1) <= k.size(1),
              "attention wants q (B,T,H,E), k and v (B,S,K,E) with T <= S and H % K == 0, got ", q.sizes(), ", ",
              k.sizes(), ", ", v.sizes());
  if (form.pieces.empty()) return;
  TORCH_CHECK(q.size(1) == k.size(1) && int64_t(form.pieces.size()) == q.size(0),
              "pieces need T = S and one list for each row");
  for (const auto& row : form.pieces) {
    TORCH_CHECK(std::accumulate(row.begin(), row.end(), int64_t{0}) == q.size(1), "a row's pieces must add up to T");
  }
}

Tensor first_keys(const AttentionForm& form, int64_t B, int64_t T, int64_t S) {
  Tensor first = torch::zeros({B, T}, torch::kLong);
  auto* at = first.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < B; ++b) {
    int64_t t = 0;
    const auto fill = [&](int64_t begin, int64_t end) {
      for (; t < end; ++t) at[b * T + t] = form.window > 0 ? std::max(begin, t + S - T - form.window + 1) : begin;
    };
    int64_t begin = 0;
    for (const int64_t piece : form.pieces.empty() ? std::vector<int64_t>{T} : form.pieces[size_t(b)]) {
      fill(begin, begin + piece);
      begin += piece;
    }
  }
  return first;
}

AttentionPath attention_path(const Tensor& q, const Tensor& k, const AttentionForm& form) {
  const auto type = cpu::kernel_type(q);
  if (type && cpu::attention_works(*type, q.size(3))) return AttentionPath::fused;
  const bool flash = type ? plain_causal(q, k, form) : cuda_flash_works(q, form);
  return flash ? AttentionPath::flash : AttentionPath::blocks;
}

AttentionResult attention_by(AttentionPath path, const Tensor& q, const Tensor& k, const Tensor& v,
                             const AttentionForm& form) {
  check_attention(q, k, v, form);
  const variable_list results = Attention::apply(q, k, v, path, form);
  return {results[0], results[1]};
}

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionForm& form) {
  return attention_by(attention_path(q, k, form), q, k, v, form);
}

}  // namespace accordion::op
