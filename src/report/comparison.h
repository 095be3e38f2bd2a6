#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace accordion {

/// What a comparison takes from a run's metrics.jsonl: one optimizer step, or one evaluation.
struct RunPoint {
  int64_t step = 0, tokens = 0, length = 0;
  double seconds = 0, flops = 0;  // of training so far
  double loss = 0;                // NaN where the step was skipped
};

/// One run. `losses`: the last evaluation at each length.
struct RunCurves {
  std::string run;    // the folder as it was named
  std::string label;  // the shortest name that tells the runs apart
  int64_t tokens = 0;
  double flops = 0, seconds = 0;
  int64_t last_step = 0, total_steps = 0;
  std::vector<RunPoint> steps, evaluations;
  std::map<int64_t, double> losses;
};

/// Reads a run folder. UserError where it is none, where nothing was trained yet, or where a line is damaged.
RunCurves read_run(const std::filesystem::path& folder);

/// Runs side by side, each later one against the first.
class Comparison {
 public:
  /// UserError for fewer than two folders, the same folder twice, and what read_run refuses.
  explicit Comparison(const std::vector<std::string>& folders);
  /// `{"runs":[...],"against_first":[...]}`; a loss difference is that run's loss minus the first's, in nats.
  nlohmann::ordered_json json() const;
  /// The same as text for people.
  std::string text() const;
  /// A page with tables and plots that stands by itself: no network, no further files. Curves of long runs are thinned
  /// to at most `points` points each, every one the mean over the steps that it stands for.
  std::string html(int64_t points = 1500) const;
  /// What a reader of the figures should know: runs that are not finished, or that trained different numbers of tokens.
  std::vector<std::string> caveats() const;

 private:
  std::vector<RunCurves> runs_;
};

/// Means of consecutive groups of points, at most `count` of them; a group's place is its last point's. Skipped steps
/// count for nothing in a mean.
std::vector<RunPoint> thinned(const std::vector<RunPoint>& points, int64_t count);

}  // namespace accordion
