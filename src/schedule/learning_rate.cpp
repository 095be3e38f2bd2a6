#include "schedule/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace accordion {

LearningRate::LearningRate(const Recipe& recipe, const LengthSchedule& schedule)
    : peak_(recipe.optimizer.lr),
      lr_schedule_(recipe.lr_schedule),
      scale_(recipe.batch.lr_scale),
      budget_(recipe.budget),
      full_tokens_(schedule.max_length() * schedule.rows_at(schedule.max_length())) {
  // The budget in the decay's unit. A budget of seconds or epochs keeps its own share, as nobody knows its tokens
  // beforehand.
  if (lr_schedule_.kind == LrKind::constant) return;
  if (lr_schedule_.decay_by == DecayBy::tokens && budget_.steps) {
    if (const auto end = schedule.end()) {
      budget_.tokens = std::min(end->tokens, budget_.tokens.value_or(end->tokens));
      budget_.steps.reset();
    }
  } else if (lr_schedule_.decay_by == DecayBy::steps && budget_.tokens) {
    budget_.steps = schedule.end().value().steps;
    budget_.tokens.reset();
  }
}

double LearningRate::used(const Counters& counters) const {
  double largest = 0;
  const auto use = [&](double done, double whole) { largest = std::max(largest, whole > 0 ? done / whole : 1); };
  if (budget_.tokens) use(static_cast<double>(counters.tokens), static_cast<double>(*budget_.tokens));
  if (budget_.steps) use(static_cast<double>(counters.steps), static_cast<double>(*budget_.steps));
  if (budget_.seconds) use(counters.seconds, *budget_.seconds);
  if (budget_.epochs) use(counters.epochs, *budget_.epochs);
  return largest;
}

double LearningRate::decay(const Counters& counters) const {
  const Counters warm{.steps = warmup_steps(),
                      .tokens = counters.warmup_tokens,
                      .seconds = counters.warmup_seconds,
                      .epochs = counters.warmup_epochs};
  const double begin = used(warm);
  const double r = begin < 1 ? std::clamp((used(counters) - begin) / (1 - begin), 0.0, 1.0) : 1.0;
  const double final = lr_schedule_.final.value_or(kDefaultFinal);
  switch (lr_schedule_.kind) {
    case LrKind::cosine:
      return final + (1 - final) * (1 + std::cos(std::numbers::pi * r)) / 2;
    case LrKind::linear:
      return 1 - (1 - final) * r;
    case LrKind::constant:
      return 1;
  }
  throw std::logic_error("unknown kind of learning rate schedule");
}

double LearningRate::at(const Counters& counters, const StepPlan& plan) const {
  const auto n = counters.steps + 1;
  double rate = peak_;
  rate *= n <= warmup_steps() ? static_cast<double>(n) / static_cast<double>(warmup_steps()) : decay(counters);
  if (const auto climb = lr_schedule_.rewarmup.steps; climb > 0) {
    const bool changes_now = counters.length != 0 && counters.length != plan.length;
    const auto since = changes_now ? int64_t{1} : counters.steps - counters.changed + 1;
    if (changes_now || counters.changed > 0)
      rate *= std::min(1.0, static_cast<double>(since) / static_cast<double>(climb));
  }
  const double ratio = static_cast<double>(plan.tokens()) / static_cast<double>(full_tokens_);
  switch (scale_) {
    case LrScale::none:
      return rate;
    case LrScale::linear:
      return rate * ratio;
    case LrScale::sqrt:
      return rate * std::sqrt(ratio);
  }
  throw std::logic_error("unknown scaling of the learning rate");
}

}  // namespace accordion
