#include "eval/generate.h"

#include <string>

#include "base/error.h"
#include "op/head_loss.h"

namespace accordion {
namespace {

/// One id from logits (V) in f32.
int64_t draw(const torch::Tensor& logits, const Sampling& sampling, torch::Generator& generator) {
  if (sampling.temperature == 0) return logits.argmax().item<int64_t>();
  auto probabilities = torch::softmax(logits.to(torch::kDouble) / sampling.temperature, 0);  // (V)
  if (sampling.top_p < 1) {
    const auto [sorted, order] = probabilities.sort(0, /*descending=*/true);
    const auto likelier = sorted.cumsum(0) - sorted;  // (V) probability of all that come before
    const auto kept = sorted.masked_fill(likelier >= sampling.top_p, 0);
    probabilities = torch::zeros_like(probabilities).scatter(0, order, kept);
  }
  return torch::multinomial(probabilities, 1, /*replacement=*/false, generator).item<int64_t>();
}

}  // namespace

void generate(const Transformer& model, const std::vector<int64_t>& prompt, const Sampling& sampling,
              const std::function<bool(int64_t)>& take) {
  const torch::NoGradGuard guard;
  TORCH_CHECK(!prompt.empty(), "generate needs a prompt");
  const auto& config = model.config();
  const auto length = static_cast<int64_t>(prompt.size());
  if (config.position == PositionKind::learned && length + sampling.max_tokens > config.max_positions) {
    throw UserError("the prompt's " + std::to_string(length) + " tokens and " + std::to_string(sampling.max_tokens) +
                    " more do not fit the model's table of " + std::to_string(config.max_positions) +
                    " positions; lower --max-tokens or shorten the prompt");
  }
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(sampling.seed));
  const int64_t vocabulary =
      sampling.vocabulary > 0 ? std::min(sampling.vocabulary, config.vocabulary) : config.vocabulary;

  KeyValueCache cache;
  Pass pass;
  if (sampling.cache) pass.cache = &cache;
  auto ids = torch::tensor(prompt, torch::kLong).unsqueeze(0).to(model.device());  // (1,T)
  for (int64_t n = 0; n < sampling.max_tokens; ++n) {
    const auto last = model.hidden(ids, pass).select(1, -1);                // (1,T,D) -> (1,D)
    auto logits = torch::matmul(last, model.head_weight().t()).squeeze(0);  // (V)
    op::soft_cap_logits(logits, config.final_soft_cap);
    const int64_t id = draw(logits.narrow(0, 0, vocabulary).to(torch::kCPU, torch::kFloat), sampling, generator);
    if (!take(id)) return;
    const auto next = torch::full({1, 1}, id, torch::dtype(torch::kLong).device(model.device()));
    ids = sampling.cache ? next : torch::cat({ids, next}, 1);
  }
}

}  // namespace accordion
