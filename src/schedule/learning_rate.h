#pragma once

#include "recipe/recipe.h"
#include "schedule/length.h"

namespace accordion {

/// The learning rate of the step that follows `counters` and holds `plan`. With n = steps + 1 and w steps of warmup:
/// lr * min(1, n / w) while n <= w; then, with r the share used of the way from the end of warmup to the budget,
///   cosine: lr * (final + (1 - final) * (1 + cos(pi r)) / 2)     linear: lr * (1 - (1 - final) * r)     constant: lr
/// r goes by trained tokens (decay_by: tokens; budgets of seconds and epochs by their own share) or by steps, where a
/// step always holds the same tokens. `rewarmup` multiplies by k / steps for the k-th step after a change of length;
/// `lr_scale` by (tokens of the step / tokens of a step at max_length), or its root. Pure: O(1).
class LearningRate {
 public:
  /// May simulate the run once (a budget of steps whose tokens vary), which takes some 20 ns a step.
  LearningRate(const Recipe& recipe, const LengthSchedule& schedule);
  double at(const Counters& counters, const StepPlan& plan) const;
  int64_t warmup_steps() const { return lr_schedule_.warmup.steps; }

 private:
  double used(const Counters& counters) const;
  double decay(const Counters& counters) const;

  double peak_;
  LrScheduleRecipe lr_schedule_;
  LrScale scale_;
  Amount budget_;        // with steps turned into tokens where decay goes by tokens
  int64_t full_tokens_;  // of a step at max_length
};

}  // namespace accordion
