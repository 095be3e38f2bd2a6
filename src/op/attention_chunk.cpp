#include "op/attention_chunk.h"

#include <optional>

#include "op/attention_path.h"
#include "op/cpu/attention.h"
#include "op/cpu/tensors.h"

namespace accordion::op {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// What of a row the queries [begin, end) see, counted from `low`.
struct Seen {
  Seen(const KeyedRow& row, int64_t begin, int64_t end, const Tensor& first)
      : low(cpu::rounded_down(first[0][begin].item<int64_t>())),
        keys(row.keys.slice(1, low, end)),
        values(row.values.slice(1, low, end)),
        first_key(first.slice(1, begin, end) - low) {}
  int64_t low;
  Tensor keys, values;  // (1,end-low,K,E)
  Tensor first_key;     // (1,C)
};

/// The processor's flash kernel wants as many keys as queries.
AttentionPath path_of(const Tensor& q, const AttentionForm& form) {
  const auto type = cpu::kernel_type(q);
  if (type && cpu::attention_works(*type, q.size(3))) return AttentionPath::fused;
  return cuda_flash_works(q, form) ? AttentionPath::flash : AttentionPath::blocks;
}

struct AttentionChunk : torch::autograd::Function<AttentionChunk> {
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v, int64_t begin,
                        const Tensor& first, const AttentionForm& form, const std::shared_ptr<KeyedRow>& row) {
    const int64_t end = begin + q.size(1);
    if (!row->replay) row->put(k, v, begin);
    AttentionResult result;
    if (row->replay && row->output.defined()) {
      result = {row->output.slice(1, begin, end), row->lse.slice(2, begin, end).contiguous()};
    } else {
      const Seen seen(*row, begin, end, first);
      result = attend(path_of(q, form), q, seen.keys, seen.values, form, seen.first_key);
      if (row->output.defined()) {
        row->output.slice(1, begin, end).copy_(result.output);
        row->lse.slice(2, begin, end).copy_(result.lse);
      }
    }
    context->save_for_backward({q, result.output, result.lse, first, form.alibi_slopes});
    context->saved_data["begin"] = begin;
    context->saved_data["scale"] = form.scale;
    context->saved_data["soft_cap"] = form.soft_cap;
    context->saved_data["window"] = form.window;
    context->saved_data["row"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(row));
    return result.output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& q = saved[0];
    const int64_t begin = context->saved_data["begin"].toInt(), end = begin + q.size(1);
    AttentionForm form;
    form.scale = context->saved_data["scale"].toDouble();
    form.soft_cap = context->saved_data["soft_cap"].toDouble();
    form.window = context->saved_data["window"].toInt();
    form.alibi_slopes = saved[4];
    const auto row = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["row"].toCapsule())->row;
    TORCH_CHECK(row->dkeys.defined(), "attention_chunk has no backward without KeyedRow::begin_backward()");
    const Seen seen(*row, begin, end, saved[3]);
    const KeyGradientSums sums{row->dkeys.slice(2, seen.low), row->dvalues.slice(2, seen.low)};
    const AttentionGradients d = attend_backward(path_of(q, form), q, seen.keys, seen.values, form, seen.first_key,
                                                 {saved[1], saved[2]}, gradients[0], &sums);
    const auto own = [&](const Tensor& all) {
      return all.slice(2, begin, end).transpose(1, 2).to(q.scalar_type()).contiguous();  // (1,C,K,E)
    };
    return {d.dq, own(row->dkeys), own(row->dvalues), Tensor(), Tensor(), Tensor(), Tensor()};
  }

 private:
  struct Holder : torch::CustomClassHolder {
    explicit Holder(std::shared_ptr<KeyedRow> held) : row(std::move(held)) {}
    std::shared_ptr<KeyedRow> row;
  };
};

}  // namespace

KeyedRow::KeyedRow(const Sizes& all, const torch::TensorOptions& options)
    : sizes(all),
      keys(torch::empty({1, all.T, all.K, all.E}, options)),
      values(torch::empty({1, all.T, all.K, all.E}, options)) {}

void KeyedRow::put(const Tensor& k, const Tensor& v, int64_t begin) {
  keys.slice(1, begin, begin + k.size(1)).copy_(k);
  values.slice(1, begin, begin + v.size(1)).copy_(v);
}

void KeyedRow::keep_output() {
  output = torch::empty({1, sizes.T, sizes.H, sizes.E}, keys.options());                  // (1,T,H,E)
  lse = torch::empty({1, sizes.H, sizes.T}, keys.options().dtype(cpu::wide_type(keys)));  // (1,H,T)
}

void KeyedRow::begin_backward() {
  const int64_t T = cpu::rounded_up(sizes.T);
  const auto sums = keys.options().dtype(cpu::wide_type(keys));
  dkeys = torch::zeros({1, sizes.K, T, sizes.E}, sums);    // (1,K,T',E)
  dvalues = torch::zeros({1, sizes.K, T, sizes.E}, sums);  // (1,K,T',E)
  replay = true;
}

Tensor attention_chunk(const Tensor& q, const Tensor& k, const Tensor& v, int64_t begin, const Tensor& first,
                       const AttentionForm& form, const std::shared_ptr<KeyedRow>& row) {
  TORCH_CHECK(q.dim() == 4 && q.size(0) == 1 && k.sizes() == v.sizes() && q.size(1) == k.size(1) &&
                  begin + q.size(1) <= row->sizes.T && first.size(1) == row->sizes.T,
              "attention_chunk wants q (1,C,H,E), k and v (1,C,K,E) within the row, got ", q.sizes(), ", ", k.sizes());
  return AttentionChunk::apply(q, k, v, begin, first, form, row);
}

}  // namespace accordion::op
