#include "schedule/length.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>
#include <stdexcept>

namespace accordion {
namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();

/// floor, but a value within rounding error of a whole number is that number: 3 x (1 / 3) must not lose a token.
int64_t whole_part(double value) {
  const double nearest = std::round(value);
  return static_cast<int64_t>(std::fabs(value - nearest) <= 1e-9 * std::fmax(1, std::fabs(value)) ? nearest
                                                                                                  : std::floor(value));
}

/// Lengths that double from the shorter to the longer end, each for an equal share; at the end exactly `to`.
int64_t power_of_two(int64_t from, int64_t to, double x) {
  const auto [low, high] = std::minmax(from, to);
  int64_t doublings = 0;
  while (low << doublings < high) ++doublings;
  auto level = std::min<int64_t>(whole_part(x * static_cast<double>(doublings + 1)), doublings);
  if (from > to) level = doublings - level;
  return std::min(low << level, high);
}

/// The end of the run in a schedule's unit; infinity where the budget does not name that unit.
double end_of(ProgressUnit progress, const Amount& budget) {
  switch (progress) {
    case ProgressUnit::fraction:
      return 1;
    case ProgressUnit::steps:
      return budget.steps ? static_cast<double>(*budget.steps) : kForever;
    case ProgressUnit::tokens:
      return budget.tokens ? static_cast<double>(*budget.tokens) : kForever;
    case ProgressUnit::seconds:
      return budget.seconds.value_or(kForever);
  }
  throw std::logic_error("unknown progress");
}

double share(double done, double whole) { return whole > 0 ? done / whole : 1; }

}  // namespace

Counters advance(Counters counters, const StepPlan& plan, int64_t warmup_steps, double seconds, double epochs) {
  if (counters.length != 0 && counters.length != plan.length) counters.changed = counters.steps;
  counters.length = plan.length;
  counters.steps += 1;
  counters.tokens += plan.tokens();
  counters.read += plan.read();
  counters.seconds += seconds;
  counters.epochs += epochs;
  if (counters.steps <= warmup_steps) {
    counters.warmup_tokens = counters.tokens;
    counters.warmup_seconds = counters.seconds;
    counters.warmup_epochs = counters.epochs;
  }
  return counters;
}

double ramp_share(Ramp ramp, double x, double degree) {
  switch (ramp) {
    case Ramp::linear:
      return x;
    case Ramp::root:
      return std::pow(x, 1 / degree);
    case Ramp::sin:
      return std::sin(std::numbers::pi / 2 * x);
    case Ramp::cosine:
      return (1 - std::cos(std::numbers::pi * x)) / 2;
    case Ramp::cubic:
      return ((4 * x - 6) * x + 3) * x;
    case Ramp::none:
    case Ramp::exp:
    case Ramp::pow2:
    case Ramp::table:
      break;
  }
  throw std::logic_error("ramp " + name_of(ramp) + " has no share");
}

LengthSchedule::LengthSchedule(const Recipe& recipe)
    : LengthSchedule(recipe.length_schedule, recipe.batch, recipe.budget) {}

LengthSchedule::LengthSchedule(const LengthScheduleRecipe& schedule, const BatchRecipe& batch, const Amount& budget)
    : progress_(schedule.progress),
      evaluate_(schedule.evaluate),
      apply_(schedule.apply),
      max_length_(0),
      multiple_of_(schedule.multiple_of),
      batch_(batch),
      budget_(budget) {
  if (schedule.length) {
    stretches_.push_back({.from = *schedule.length, .to = *schedule.length, .end = kForever});
  }
  double start = 0;
  for (const auto& segment : schedule.segments) {
    Stretch stretch{.ramp = segment.ramp,
                    .start = start,
                    .end = segment.until.at.value_or(end_of(progress_, budget)),
                    .source = segment.source};
    if (segment.ramp == Ramp::table) {
      stretch.table = segment.table;
      stretch.from = static_cast<int64_t>(segment.table.front()[1]);
      stretch.to = static_cast<int64_t>(segment.table.back()[1]);
    } else {
      stretch.from = segment.length ? *segment.length : segment.from.value();
      stretch.to = segment.length ? *segment.length : segment.to.value();
    }
    stretch.step = segment.step.value_or(1);
    stretch.degree = segment.degree.value_or(2);
    stretch.cycles = segment.cycles.value_or(1);
    start = stretch.end;
    stretches_.push_back(std::move(stretch));
  }
  if (stretches_.empty()) throw std::logic_error("a length schedule needs a length or segments");
  for (const auto length : lengths()) max_length_ = std::max(max_length_, length);
  max_length_ = schedule.max_length.value_or(max_length_);
}

double LengthSchedule::progress(const Counters& counters) const {
  const int64_t after = evaluate_ == Evaluate::after ? 1 : 0;
  switch (progress_) {
    case ProgressUnit::steps:
      return static_cast<double>(counters.steps + after);
    case ProgressUnit::tokens:
      return static_cast<double>(counters.tokens);
    case ProgressUnit::seconds:
      return counters.seconds;
    case ProgressUnit::fraction:
      if (after) return share(static_cast<double>(counters.steps + 1), static_cast<double>(budget_.steps.value()));
      return fraction(counters);
  }
  throw std::logic_error("unknown progress");
}

double LengthSchedule::fraction(const Counters& counters) const {
  double largest = 0;
  const auto use = [&](double done, double whole) { largest = std::max(largest, share(done, whole)); };
  if (budget_.steps) use(static_cast<double>(counters.steps), static_cast<double>(*budget_.steps));
  if (budget_.tokens) use(static_cast<double>(counters.tokens), static_cast<double>(*budget_.tokens));
  if (budget_.seconds) use(counters.seconds, *budget_.seconds);
  if (budget_.epochs) use(counters.epochs, *budget_.epochs);
  return largest;
}

bool LengthSchedule::finished(const Counters& counters) const {
  return (budget_.steps && counters.steps >= *budget_.steps) ||
         (budget_.tokens && counters.tokens >= *budget_.tokens) ||
         (budget_.seconds && counters.seconds >= *budget_.seconds) ||
         (budget_.epochs && counters.epochs >= *budget_.epochs);
}

size_t LengthSchedule::stretch_at(double progress) const {
  size_t i = 0;
  while (i + 1 < stretches_.size() && progress >= stretches_[i].end) ++i;
  return i;
}

int64_t LengthSchedule::rounded(const Stretch& stretch, double value) const {
  auto length = whole_part(value);
  length -= length % stretch.step;
  length -= length % multiple_of_;
  const auto [low, high] = std::minmax(stretch.from, stretch.to);
  return stretch.ramp == Ramp::table ? std::max<int64_t>(length, 1) : std::clamp(length, low, high);
}

int64_t LengthSchedule::length_of(const Stretch& stretch, double progress) const {
  if (stretch.ramp == Ramp::none) return stretch.from;
  if (stretch.ramp == Ramp::table) {
    const auto& table = stretch.table;
    size_t next = 0;
    while (next < table.size() && table[next][0] <= progress) ++next;
    if (next == 0) return stretch.from;
    const auto& before = table[next - 1];
    // A point of the table is taken as written, as the ends of other ramps are.
    if (next == table.size() || before[0] == progress) return static_cast<int64_t>(before[1]);
    const auto& after = table[next];
    return rounded(stretch, before[1] + (after[1] - before[1]) * (progress - before[0]) / (after[0] - before[0]));
  }
  // A ramp without duration, or past its end, has arrived.
  if (!(stretch.end > stretch.start) || progress >= stretch.end) return stretch.to;
  double x =
      std::max(0.0, (progress - stretch.start) / (stretch.end - stretch.start)) * static_cast<double>(stretch.cycles);
  const int64_t cycle = whole_part(x);
  if (cycle >= stretch.cycles) return stretch.to;
  x = std::fmax(0, x - static_cast<double>(cycle));  // the share of the present cycle
  if (x == 0) return stretch.from;
  if (stretch.ramp == Ramp::pow2) return power_of_two(stretch.from, stretch.to, x);
  const auto from = static_cast<double>(stretch.from), to = static_cast<double>(stretch.to);
  if (stretch.ramp == Ramp::exp) return rounded(stretch, from * std::pow(to / from, x));
  return rounded(stretch, ramp_share(stretch.ramp, x, stretch.degree) * (to - from) + from);
}

int64_t LengthSchedule::length_at(double progress) const {
  return length_of(stretches_[stretch_at(progress)], progress);
}

int64_t LengthSchedule::rows_at(int64_t length) const {
  if (batch_.policy == BatchPolicy::constant_sequences) return batch_.sequences.value();
  const auto tokens = batch_.tokens.value_or(kDefaultBatchTokens);
  return std::max<int64_t>(1, std::llround(static_cast<double>(tokens) / static_cast<double>(length)));
}

StepPlan LengthSchedule::at(const Counters& counters) const {
  const double p = progress(counters);
  const size_t i = stretch_at(p);
  const int64_t length = length_of(stretches_[i], p);
  return {.length = length,
          .rows = rows_at(length),
          .read_length = apply_ == Apply::truncate ? max_length_ : length,
          .segment = static_cast<int64_t>(i),
          .source = stretches_[i].source};
}

std::vector<int64_t> LengthSchedule::lengths_of(const Stretch& stretch) const {
  std::set<int64_t> found{stretch.from, stretch.to};
  if (stretch.ramp == Ramp::pow2) {
    const auto [low, high] = std::minmax(stretch.from, stretch.to);
    for (auto doubled = low; doubled < high; doubled *= 2) found.insert(doubled);
  } else if (stretch.ramp != Ramp::none) {
    auto low = std::min(stretch.from, stretch.to), high = std::max(stretch.from, stretch.to);
    for (const auto& point : stretch.table) {
      found.insert(static_cast<int64_t>(point[1]));
      low = std::min(low, static_cast<int64_t>(point[1]));
      high = std::max(high, static_cast<int64_t>(point[1]));
    }
    for (auto value = low; value < high; ++value) found.insert(rounded(stretch, static_cast<double>(value)));
  }
  return {found.begin(), found.end()};
}

std::vector<int64_t> LengthSchedule::lengths() const {
  std::set<int64_t> all;
  for (const auto& stretch : stretches_)
    for (const auto length : lengths_of(stretch)) all.insert(length);
  return {all.begin(), all.end()};
}

std::vector<std::pair<int64_t, int64_t>> LengthSchedule::shapes() const {
  std::vector<std::pair<int64_t, int64_t>> all;
  for (const auto length : lengths()) all.emplace_back(length, rows_at(length));
  return all;
}

std::vector<int64_t> LengthSchedule::constant_lengths() const {
  std::set<int64_t> all{max_length_};
  for (const auto& stretch : stretches_)
    if (stretch.ramp == Ramp::none) all.insert(stretch.from);
  return {all.begin(), all.end()};
}

bool LengthSchedule::tokens_vary() const {
  return batch_.policy == BatchPolicy::constant_sequences && lengths().size() > 1;
}

bool LengthSchedule::has_ramp() const {
  return std::any_of(stretches_.begin(), stretches_.end(),
                     [](const Stretch& stretch) { return stretch.ramp != Ramp::none; });
}

std::optional<Counters> LengthSchedule::end() const {
  if (!known_beforehand()) return {};
  Counters counters;
  while (!finished(counters)) counters = advance(counters, at(counters), 0);
  return counters;
}

int64_t microbatch_rows(int64_t length, int64_t rows, int64_t tokens_per_pass) {
  const int64_t most = std::clamp<int64_t>(tokens_per_pass / length, 1, rows);
  const int64_t passes = (rows + most - 1) / most;
  return (rows + passes - 1) / passes;
}

}  // namespace accordion
