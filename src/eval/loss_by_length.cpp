#include "eval/loss_by_length.h"

#include <algorithm>

#include "base/error.h"
#include "base/stop.h"
#include "base/text.h"
#include "op/head_loss.h"
#include "schedule/chunk.h"

namespace accordion {
namespace {

constexpr int64_t kTokensAtOnce = 8192;  // of one evaluation pass: enough for GEMMs, little memory

}  // namespace

Rows take_rows(const Batch& batch, int64_t first, int64_t count, const PassForm& form, const Transformer& model) {
  const auto device = model.device();
  const auto begin = static_cast<size_t>(first * batch.length);
  auto tensor = [&](const std::vector<int64_t>& values) {
    auto view = torch::from_blob(const_cast<int64_t*>(values.data()) + begin, {count, batch.length}, torch::kLong);
    return view.clone().to(device);  // (B,T)
  };
  Rows rows{tensor(batch.inputs), tensor(batch.targets), {}};
  rows.pass.fold = memory::fold_of(form.memory, model.config().width, count, batch.length, form.store);
  if (form.document_mask) rows.pass.pieces.assign(batch.pieces.begin() + first, batch.pieces.begin() + first + count);
  if (form.restart_positions) {
    auto positions = torch::empty({count, batch.length}, torch::kLong);
    auto* out = positions.data_ptr<int64_t>();
    for (int64_t row = first; row < first + count; ++row)
      for (int64_t piece : batch.pieces[static_cast<size_t>(row)])
        for (int64_t position = 0; position < piece; ++position) *out++ = position;
    rows.pass.positions = positions.to(device);
  }
  return rows;
}

LossByLength::LossByLength(const std::string& corpus, std::vector<int64_t> lengths, int64_t tokens,
                           const PassForm& form)
    : corpus_(corpus), lengths_(std::move(lengths)), form_(form) {
  std::sort(lengths_.begin(), lengths_.end());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
  const int64_t longest = lengths_.back();
  if (tokens < longest)
    throw UserError(format("evaluation: %lld tokens are less than one row of %lld; raise them or leave that length out",
                           static_cast<long long>(tokens), static_cast<long long>(longest)));
  const int64_t used = validation_tokens(corpus, tokens, longest);
  if (used < tokens / longest * longest) {
    note_ = format("%s: the validation split holds %s tokens for evaluation, not %s", corpus.c_str(),
                   format_thousands(used).c_str(), format_thousands(tokens).c_str());
    if (used < longest) note_ += format("; rows of %lld are cut to that", static_cast<long long>(longest));
  }
  for (int64_t length : lengths_)
    batches_[length] = validation_batches(corpus, length, used, std::max<int64_t>(1, kTokensAtOnce / length));
}

void LossByLength::check(const ModelConfig& model) const {
  int64_t smallest = 0, largest = 0, longest = 0;
  for (const auto& batch : batches_.at(lengths_.back())) {
    longest = std::max(longest, batch.length);
    for (const auto* ids : {&batch.inputs, &batch.targets}) {
      const auto [least, most] = std::minmax_element(ids->begin(), ids->end());
      smallest = std::min(smallest, *least);
      largest = std::max(largest, *most);
    }
  }
  if (smallest < 0 || largest >= model.vocabulary)
    throw UserError(
        format("%s: token %lld lies outside of the model's vocabulary of %lld; prepare the corpus with the model's "
               "tokenizer",
               corpus_.c_str(), static_cast<long long>(smallest < 0 ? smallest : largest),
               static_cast<long long>(model.vocabulary)));
  if (model.position == PositionKind::learned && longest > model.max_positions)
    throw UserError(format("the model has %lld positions, fewer than rows of %lld need; leave that length out",
                           static_cast<long long>(model.max_positions), static_cast<long long>(longest)));
}

std::optional<LengthLoss> LossByLength::evaluate(const Transformer& model, int64_t length) const {
  torch::NoGradGuard no_grad;
  LengthLoss result;
  result.length = length;
  double sum = 0;
  const op::HeadForm form{.chunk = automatic_head_chunk(model.config().vocabulary),
                          .soft_cap = model.config().final_soft_cap};
  for (const auto& batch : batches_.at(length)) {
    if (stop_signal() != 0) return std::nullopt;
    auto rows = take_rows(batch, 0, batch.rows, form_, model);
    rows.pass.before_layer = [] { leave_if_stopped(); };
    try {
      const auto hidden = model.hidden(rows.ids, rows.pass).flatten(0, 1);  // (N,D)
      sum += op::head_loss(hidden, model.head_weight(), rows.targets.flatten(), form).item<double>();
    } catch (const Stopped&) {
      return std::nullopt;
    }
    result.tokens += batch.rows * batch.length;
  }
  result.loss = sum / static_cast<double>(result.tokens);
  return result;
}

}  // namespace accordion
