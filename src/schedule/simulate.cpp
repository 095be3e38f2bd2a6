#include "schedule/simulate.h"

#include <algorithm>

#include "base/text.h"
#include "schedule/learning_rate.h"

namespace accordion {
namespace {

constexpr double kSteepGrowth = 4;    // of the length at one step: GrowLength saw lasting harm at 8x, none at 2x and 4x
constexpr double kDecayedRate = 0.1;  // of the peak: growth needs learning rate left to spend

std::string growth_warning(int64_t step, int64_t before, int64_t after) {
  return format(
      "at step %s the length grows %.3g times at once (%lld -> %lld); steps of %g times or less keep the loss smooth",
      format_thousands(step).c_str(), static_cast<double>(after) / static_cast<double>(before),
      static_cast<long long>(before), static_cast<long long>(after), kSteepGrowth);
}

std::string decay_warning(int64_t step, int64_t before, int64_t after, double share) {
  return format(
      "at step %s the length grows (%lld -> %lld) at %.0f %% of the peak learning rate; grow earlier, or raise "
      "lr_schedule.final",
      format_thousands(step).c_str(), static_cast<long long>(before), static_cast<long long>(after), 100 * share);
}

/// Notes on one run. Each kind is said once: a ramp would repeat it at every step.
class Notes {
 public:
  Notes(const Recipe& recipe, const LengthSchedule& schedule) : peak_(recipe.optimizer.lr), rate_(recipe, schedule) {}

  void step(const Counters& before, const StepPlan& plan) {
    if (before.length == 0 || plan.length <= before.length) return;
    const double ratio = static_cast<double>(plan.length) / static_cast<double>(before.length);
    const auto step = before.steps + 1;
    if (!steep_ && ratio > kSteepGrowth) {
      steep_ = true;
      warnings.push_back(growth_warning(step, before.length, plan.length));
    }
    // In warmup the rate is low and still to come.
    if (decayed_ || before.steps < rate_.warmup_steps() || !(peak_ > 0)) return;
    if (const double share = rate_.at(before, plan) / peak_; share < kDecayedRate) {
      decayed_ = true;
      warnings.push_back(decay_warning(step, before.length, plan.length, share));
    }
  }
  int64_t warmup_steps() const { return rate_.warmup_steps(); }

  std::vector<std::string> warnings;

 private:
  double peak_;
  LearningRate rate_;
  bool steep_ = false, decayed_ = false;
};

void note_unreached(const Recipe& recipe, Simulation& run) {
  const auto segments = static_cast<int64_t>(recipe.length_schedule.segments.size());
  const auto reached = run.stages.empty() ? 0 : run.stages.back().segment + 1;
  if (reached < segments)
    run.warnings.push_back(format("the budget ends the run before segment %lld of %lld of the length schedule begins",
                                  static_cast<long long>(reached + 1), static_cast<long long>(segments)));
}

}  // namespace

std::optional<Simulation> simulate(const Recipe& recipe, const MatmulSizes& model) {
  const LengthSchedule schedule(recipe);
  if (!schedule.known_beforehand()) return {};
  Simulation run;
  Notes notes(recipe, schedule);
  int64_t priced_length = 0;
  Flops price;  // of a token at priced_length
  auto& counters = run.end;
  while (!schedule.finished(counters)) {
    const auto plan = schedule.at(counters);
    notes.step(counters, plan);
    if (plan.length != priced_length) {
      price = training_flops(model, static_cast<double>(plan.length), recipe.memory);
      priced_length = plan.length;
    }
    if (run.stages.empty() || run.stages.back().segment != plan.segment)
      run.stages.push_back({.segment = plan.segment,
                            .from_step = counters.steps + 1,
                            .length_first = plan.length,
                            .rows_first = plan.rows,
                            .flops = {}});
    auto& stage = run.stages.back();
    counters = advance(counters, plan, notes.warmup_steps());
    stage.to_step = counters.steps;
    stage.length_last = plan.length;
    stage.rows_last = plan.rows;
    stage.tokens += plan.tokens();
    stage.read += plan.read();
    stage.flops += static_cast<double>(plan.tokens()) * price;
  }
  for (const auto& stage : run.stages) run.flops += stage.flops;
  run.warnings = notes.warnings;
  note_unreached(recipe, run);
  if (counters.steps <= notes.warmup_steps() && counters.steps > 0)
    run.warnings.push_back(format("the run ends within the learning rate's warmup (%lld steps)",
                                  static_cast<long long>(notes.warmup_steps())));
  return run;
}

Baseline baseline_of(const Recipe& recipe, const Simulation& simulation, const MatmulSizes& model) {
  const LengthSchedule schedule(recipe);
  const auto length = schedule.max_length();
  const auto step_tokens = length * schedule.rows_at(length);
  // The last step's overshoot is the schedule's own.
  const auto wanted = std::min(simulation.end.tokens, recipe.budget.tokens.value_or(simulation.end.tokens));
  return {.length = length,
          .steps = (wanted + step_tokens - 1) / step_tokens,
          .flops = static_cast<double>(simulation.end.tokens) *
                   training_flops(model, static_cast<double>(length), recipe.memory)};
}

}  // namespace accordion
