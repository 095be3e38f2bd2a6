#include "eval/score.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
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

std::vector<std::vector<int64_t>> read_sequences(const std::string& file, const ModelConfig& config) {
  const auto document = nlohmann::json::parse(read_file(file), nullptr, false);
  if (document.is_discarded()) throw UserError(file + ": not valid JSON");
  if (!document.is_array()) throw UserError(file + ": should be a list of lists of token ids, [[id,...],...]");
  std::vector<std::vector<int64_t>> sequences;
  for (const auto& row : document) {
    const auto place = file + ": sequence " + std::to_string(sequences.size() + 1);
    if (!row.is_array()) throw UserError(place + " is not a list of token ids");
    std::vector<int64_t> ids;
    for (const auto& value : row) {
      if (!value.is_number_integer()) throw UserError(place + ": " + json_text(value) + " is not a token id");
      const auto id = value.get<int64_t>();
      if (id < 0 || id >= config.vocabulary) {
        throw UserError(place + ": id " + std::to_string(id) + " is outside the model's vocabulary of " +
                        std::to_string(config.vocabulary));
      }
      ids.push_back(id);
    }
    // The last token is only a target.
    const auto positions = static_cast<int64_t>(ids.size()) - 1;
    if (config.position == PositionKind::learned && positions > config.max_positions) {
      throw UserError(place + " has " + std::to_string(ids.size()) + " tokens, but the model's table has " +
                      std::to_string(config.max_positions) + " positions; cut it into shorter ones");
    }
    sequences.push_back(std::move(ids));
  }
  return sequences;
}

}  // namespace accordion
