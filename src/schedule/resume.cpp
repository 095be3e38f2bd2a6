#include "schedule/resume.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "recipe/print.h"

namespace accordion {
namespace {

bool below(const std::string& key, const std::string& section) {
  return key == section || key.compare(0, section.size() + 1, section + ".") == 0;
}

bool may_change(const std::string& key) {
  for (const auto* section : {"run", "budget", "evaluation", "checkpoint", "memory", "parallel"})
    if (below(key, section)) return true;
  return false;
}

UserError refusal(const std::string& key, const std::string& before, const std::string& after, const std::string& why) {
  const auto shown = [](const std::string& text) { return text.empty() ? std::string("not set") : "'" + text + "'"; };
  return UserError("a resumed run cannot change " + key + " (" + shown(before) + " -> " + shown(after) + ")" + why +
                   "; keep it, name another run folder, or start anew with --fresh");
}

/// A constant schedule is one segment.
std::vector<Segment> segments_of(const LengthScheduleRecipe& schedule) {
  if (schedule.length) return {{.length = schedule.length}};
  return schedule.segments;
}

/// Whether the two give the same lengths for every progress up to `present`. A fraction counts in shares of the budget,
/// so the saved bounds are scaled to the budget of now.
bool same_past(const Recipe& saved, const Recipe& now, const Counters& counters, std::string& key) {
  const LengthSchedule before(saved), after(now);
  const double present = after.progress(counters);
  const double then = before.progress(counters);
  const double scale = saved.length_schedule.progress == ProgressUnit::fraction && then > 0 ? present / then : 1;
  const auto old_segments = segments_of(saved.length_schedule), new_segments = segments_of(now.length_schedule);
  const auto near = [](double a, double b) { return std::fabs(a - b) <= 1e-9 * std::fmax(std::fabs(a), std::fabs(b)); };
  for (size_t i = 0; i < std::min(old_segments.size(), new_segments.size()); ++i) {
    key = "length_schedule.segments." + std::to_string(i);
    const auto &was = old_segments[i], &is = new_segments[i];
    const double forever = std::numeric_limits<double>::infinity();
    const double was_until = was.until.at ? *was.until.at * scale : forever, is_until = is.until.at.value_or(forever);
    const bool both_beyond = was_until > present && is_until > present;
    const bool ramp = was.ramp != Ramp::none || is.ramp != Ramp::none;
    if (was.length != is.length || was.ramp != is.ramp || was.from != is.from || was.to != is.to ||
        was.step != is.step || was.degree != is.degree || was.cycles != is.cycles || was.table != is.table ||
        was.source != is.source)
      return false;
    if (!near(was_until, is_until) && was_until != is_until && (ramp || !both_beyond)) return false;
    if (was_until > present) return true;  // the rest is future
  }
  // A saved schedule that has reached its end may be continued by more segments.
  return old_segments.size() <= new_segments.size();
}

}  // namespace

std::vector<std::string> check_resume(const Recipe& saved, const Recipe& now, const Counters& counters) {
  std::vector<std::string> notes;
  bool segments_change = false;
  KeyChange first_segment_change;
  for (const auto& change : changed_keys(saved, now)) {
    const bool segment = below(change.key, "length_schedule.segments") || change.key == "length_schedule.length";
    if (segment && !segments_change) {
      segments_change = true;
      first_segment_change = change;
    }
    // max_length is where the future goes, unless rows are read at that length or the rate is scaled by it.
    const bool future = change.key == "length_schedule.max_length" && now.length_schedule.apply != Apply::truncate &&
                        now.batch.lr_scale == LrScale::none;
    if (!segment && !future && !may_change(change.key)) throw refusal(change.key, change.before, change.after, "");
    notes.push_back(change.key + ": " + (change.before.empty() ? "not set" : change.before) + " -> " +
                    (change.after.empty() ? "not set" : change.after));
  }
  if (std::string key; segments_change && !same_past(saved, now, counters, key))
    throw refusal(first_segment_change.key, first_segment_change.before, first_segment_change.after,
                  ", as " + key + " governs steps that are already trained");
  return notes;
}

}  // namespace accordion
