#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "recipe/recipe.h"

namespace accordion {

/// What training has done so far. Length, rows, learning rate and the end of a run are pure functions of these numbers,
/// which every checkpoint holds; nothing else remembers where a schedule stands.
struct Counters {
  int64_t steps = 0;    ///< optimizer steps
  int64_t tokens = 0;   ///< trained tokens
  int64_t read = 0;     ///< tokens taken from the stream; more than trained where tails are dropped (apply: truncate)
  double seconds = 0;   ///< of training; evaluation and checkpoints left out
  double epochs = 0;    ///< passes over the training corpus
  int64_t length = 0;   ///< of the last step; 0 before the first
  int64_t changed = 0;  ///< steps done when the length last changed; 0 = never
  /// Where the learning rate's warmup ended: its decay is measured from there.
  int64_t warmup_tokens = 0;
  double warmup_seconds = 0, warmup_epochs = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Counters, steps, tokens, read, seconds, epochs, length, changed, warmup_tokens,
                                   warmup_seconds, warmup_epochs)

/// What an optimizer step holds.
struct StepPlan {
  int64_t length = 0;       ///< tokens of a row that are trained
  int64_t rows = 0;         ///< of the whole step, all processes and microbatches
  int64_t read_length = 0;  ///< tokens that a row takes from the stream: `length`, or max_length with apply: truncate
  int64_t segment = 0;      ///< index in the schedule
  std::string source = {};  ///< corpus folder of the segment; empty = data.train
  int64_t tokens() const { return rows * length; }
  int64_t read() const { return rows * read_length; }
};

/// The counters after a step: the only place that moves them. `seconds` and `epochs` are what the step took;
/// `warmup_steps` those of the learning rate's warmup.
Counters advance(Counters counters, const StepPlan& plan, int64_t warmup_steps, double seconds = 0, double epochs = 0);

/// The value of a ramp's form at x in 0..1, as a share of the way from `from` to `to` (linear, root, sin, cosine,
/// cubic: 0 at 0, 1 at 1, never falling). `degree` is that of the root. cosine = (1 - cos(pi x)) / 2; sin = sin(pi x /
/// 2); cubic = 4x^3 - 6x^2 + 3x.
double ramp_share(Ramp ramp, double x, double degree);

/// Length, rows and corpus of every optimizer step, from a validated recipe (see recipe/validate.h).
///
/// p, the progress before a step (after it with `evaluate: after`), selects a segment: it holds while p < until.
/// Constants are taken as written. A ramp gives `from` at its first p and `to` at its end; in between its value is
/// rounded down to multiples of its `step` and of `multiple_of` and kept within from..to. at() costs a few comparisons.
class LengthSchedule {
 public:
  LengthSchedule(const LengthScheduleRecipe& schedule, const BatchRecipe& batch, const Amount& budget);
  explicit LengthSchedule(const Recipe& recipe);

  StepPlan at(const Counters& counters) const;
  /// The length at a progress, in units of `progress`.
  int64_t length_at(double progress) const;
  int64_t rows_at(int64_t length) const;

  /// The largest share used of any budget named; may pass 1 by the overshoot of the last step.
  double fraction(const Counters& counters) const;
  bool finished(const Counters& counters) const;

  int64_t max_length() const { return max_length_; }
  /// Every (length, rows) that a step may have, shortest first: for caches, kernels and memory to be readied
  /// beforehand.
  std::vector<std::pair<int64_t, int64_t>> shapes() const;
  std::vector<int64_t> lengths() const;
  /// The lengths written as constants, and max_length: where evaluation looks by default. Shortest first.
  std::vector<int64_t> constant_lengths() const;
  /// Whether tokens per step may differ between steps by more than the rounding of rows.
  bool tokens_vary() const;
  bool has_ramp() const;
  /// Whether the steps of the run can be counted without training: budgets of seconds and epochs, which nobody knows
  /// beforehand, are then left out of account and may end the run earlier.
  bool known_beforehand() const { return progress_ != ProgressUnit::seconds && (budget_.steps || budget_.tokens); }
  /// Counters at the end of the run, by playing it through (some 20 ns a step); none unless known_beforehand().
  std::optional<Counters> end() const;
  const Amount& budget() const { return budget_; }
  ProgressUnit progress_unit() const { return progress_; }
  double progress(const Counters& counters) const;

 private:
  struct Stretch {
    Ramp ramp = Ramp::none;
    int64_t from = 0, to = 0;
    double start = 0, end = 0;
    int64_t step = 1;
    double degree = 2;
    int64_t cycles = 1;
    std::vector<std::vector<double>> table = {};
    std::string source = {};
  };
  size_t stretch_at(double progress) const;
  int64_t length_of(const Stretch& stretch, double progress) const;
  int64_t rounded(const Stretch& stretch, double value) const;
  std::vector<int64_t> lengths_of(const Stretch& stretch) const;

  ProgressUnit progress_;
  Evaluate evaluate_;
  Apply apply_;
  int64_t max_length_, multiple_of_;
  BatchRecipe batch_;
  Amount budget_;
  std::vector<Stretch> stretches_;
};

/// Rows of one forward and backward pass: passes of about `tokens_per_pass` tokens, all of them nearly alike. A pure
/// function of its numbers (never of free memory), so that a resumed run adds its gradients up in the same order.
int64_t microbatch_rows(int64_t length, int64_t rows, int64_t tokens_per_pass);
/// Tokens of a pass where `batch.microbatch` is auto: enough to keep matrix products busy, few enough for activations.
inline constexpr int64_t kPassTokens = 4096;

}  // namespace accordion
