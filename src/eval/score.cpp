#include "eval/score.h"

#include "op/head_loss.h"

namespace accordion {

std::vector<std::optional<double>> score(const Transformer& model, const std::vector<int64_t>& ids) {
  const torch::NoGradGuard guard;
  std::vector<std::optional<double>> result(ids.size());
  if (ids.size() < 2) return result;
  const auto tokens = torch::tensor(ids, torch::kLong).to(model.device());   // (T)
  const auto inputs = tokens.slice(0, 0, -1), targets = tokens.slice(0, 1);  // (T-1)
  const auto hidden = model.hidden(inputs.unsqueeze(0)).squeeze(0);          // (T-1,D)
  const auto scores = op::head_log_probabilities(hidden, model.head_weight(), targets, model.config().final_soft_cap)
                          .to(torch::kCPU, torch::kDouble);
  for (size_t t = 1; t < ids.size(); ++t) result[t] = scores[static_cast<int64_t>(t) - 1].item<double>();
  return result;
}

}  // namespace accordion
