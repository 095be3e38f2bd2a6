#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/paths.h"
#include "base/text.h"
#include "report/page.h"
#include "report/table.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

using Json = nlohmann::ordered_json;

/// A number of a record, NaN for the null that stands for one that is not finite.
double number(const Json& record, const char* key) {
  const auto& value = record.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

RunPoint point(const Json& record) {
  return {.step = record.at("step"),
          .tokens = record.at("tokens"),
          .length = record.at("length"),
          .seconds = record.value("seconds", 0.0),
          .flops = record.value("flops", 0.0),
          .loss = number(record, "loss")};
}

/// An evaluation stands at the seconds and FLOPs of the training before it.
RunPoint evaluation(const Json& record, const RunCurves& run) {
  auto evaluated = point(record);
  evaluated.seconds = run.seconds;
  evaluated.flops = run.flops;
  return evaluated;
}

void take(const Json& record, RunCurves& run) {
  if (record.at("type") == "step") {
    const auto& step = run.steps.emplace_back(point(record));
    run.tokens = step.tokens;
    run.flops = step.flops;
    run.seconds = step.seconds;
    run.last_step = step.step;
    run.total_steps = record.value("total_steps", int64_t{0});
  } else if (record.at("type") == "eval") {
    const auto& evaluated = run.evaluations.emplace_back(evaluation(record, run));
    run.losses[evaluated.length] = evaluated.loss;
  }
}

/// Folder names where they differ, else the folders as they were named.
void label(std::vector<RunCurves>& runs) {
  std::set<std::string> names;
  for (auto& run : runs) {
    run.label = fs::path(run.run).filename().string();
    if (run.label.find_first_not_of('.') == std::string::npos) run.label = resolved(run.run).filename().string();
    names.insert(run.label);
  }
  if (names.size() == runs.size()) return;
  for (auto& run : runs) run.label = run.run;
}

std::set<int64_t> all_lengths(const std::vector<RunCurves>& runs) {
  std::set<int64_t> lengths;
  for (const auto& run : runs)
    for (const auto& entry : run.losses) lengths.insert(entry.first);
  return lengths;
}

std::string percent(double ratio) { return std::isfinite(ratio) ? format("%.1f %%", 100 * ratio) : "-"; }

double ratio(double value, double of) { return of > 0 ? value / of : std::numeric_limits<double>::quiet_NaN(); }

/// The columns of the curves: `{"tokens": [...], "flops": [...], ...}`.
Json columns(const std::vector<RunPoint>& points) {
  Json json{{"step", Json::array()},    {"tokens", Json::array()}, {"flops", Json::array()},
            {"seconds", Json::array()}, {"length", Json::array()}, {"loss", Json::array()}};
  const auto rounded = [](double value) { return std::isfinite(value) ? Json::parse(format("%.6g", value)) : Json(); };
  for (const auto& at : points) {
    json["step"].push_back(at.step);
    json["tokens"].push_back(at.tokens);
    json["flops"].push_back(rounded(at.flops));
    json["seconds"].push_back(rounded(at.seconds));
    json["length"].push_back(at.length);
    json["loss"].push_back(rounded(at.loss));
  }
  return json;
}

/// The steps whose length differs from that of the step before, and the ends: all that a plot of the length needs.
std::vector<RunPoint> turns(const std::vector<RunPoint>& steps) {
  std::vector<RunPoint> kept;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (i == 0 || i + 1 == steps.size() || steps[i].length != steps[i - 1].length) kept.push_back(steps[i]);
  }
  return kept;
}

Json curves(const RunCurves& run, int64_t points) {
  Json evaluations = Json::object();
  for (const auto& entry : run.losses) {
    std::vector<RunPoint> at_length;
    for (const auto& evaluated : run.evaluations)
      if (evaluated.length == entry.first) at_length.push_back(evaluated);
    evaluations[std::to_string(entry.first)] = columns(thinned(at_length, points));
  }
  return {{"label", run.label},
          {"run", run.run},
          {"steps", columns(thinned(run.steps, points))},
          {"turns", columns(thinned(turns(run.steps), points))},
          {"evaluations", evaluations}};
}

}  // namespace

RunCurves read_run(const fs::path& folder) {
  RunCurves run;
  run.run = (folder / "").parent_path().string();
  if (!is_folder(folder)) throw UserError(run.run + ": no such folder; give the run folders of `accordion train`");
  const auto path = folder / "metrics.jsonl";
  if (!stands(path))
    throw UserError(run.run + ": not a run folder, it has no metrics.jsonl; `accordion train` makes one");
  const auto content = read_file(path);
  int line_number = 1;
  // A last line without an end is being written, or was torn by a power failure: it is no part of the run yet.
  for (size_t begin = 0, end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1, ++line_number) {
    try {
      take(Json::parse(content.substr(begin, end - begin)), run);
    } catch (const Json::exception&) {
      throw error_at(path.string(), line_number, 1, "",
                     "not a record of a run; remove the line or train again with --fresh");
    }
  }
  if (run.steps.empty()) throw UserError(run.run + ": nothing was trained yet; run `accordion train` first");
  return run;
}

Comparison::Comparison(const std::vector<std::string>& folders) {
  if (folders.size() < 2) throw UserError("compare needs two run folders or more: accordion compare RUN RUN...");
  std::set<fs::path> seen;
  for (const auto& folder : folders) {
    runs_.push_back(read_run(folder));
    if (!seen.insert(resolved(folder)).second) throw UserError(folder + ": named twice; give different runs");
  }
  label(runs_);
}

Json Comparison::json() const {
  Json json{{"runs", Json::array()}, {"against_first", Json::array()}};
  const auto& first = runs_.front();
  for (const auto& run : runs_) {
    Json losses = Json::array();
    for (const auto& [length, loss] : run.losses) losses.push_back({{"length", length}, {"loss", loss}});
    json["runs"].push_back(
        {{"run", run.run}, {"tokens", run.tokens}, {"flops", run.flops}, {"seconds", run.seconds}, {"eval", losses}});
    if (&run == &first) continue;
    Json differences = Json::object();
    for (const auto& [length, loss] : run.losses)
      if (first.losses.contains(length)) differences[std::to_string(length)] = loss - first.losses.at(length);
    json["against_first"].push_back({{"run", run.run},
                                     {"seconds_ratio", ratio(run.seconds, first.seconds)},
                                     {"flops_ratio", ratio(run.flops, first.flops)},
                                     {"loss_difference", differences}});
  }
  return json;
}

std::string Comparison::text() const {
  const auto lengths = all_lengths(runs_);
  const auto& first = runs_.front();
  std::vector<std::string> header{"run", "tokens", "FLOPs", "seconds"},
      against{"against " + first.label, "FLOPs", "seconds"};
  for (const auto length : lengths) {
    header.push_back("loss at " + std::to_string(length));
    against.push_back("loss at " + std::to_string(length));
  }
  Table side_by_side(header), differences(against);
  for (const auto& run : runs_) {
    std::vector<std::string> row{run.label, format_thousands(run.tokens), format("%.3e", run.flops),
                                 format("%.1f", run.seconds)};
    std::vector<std::string> difference{run.label, percent(ratio(run.flops, first.flops)),
                                        percent(ratio(run.seconds, first.seconds))};
    for (const auto length : lengths) {
      const bool here = run.losses.contains(length), there = first.losses.contains(length);
      row.push_back(here ? format("%.4f", run.losses.at(length)) : "-");
      difference.push_back(here && there ? format("%+.4f", run.losses.at(length) - first.losses.at(length)) : "-");
    }
    side_by_side.row(row);
    if (&run != &first) differences.row(difference);
  }
  return side_by_side.text() + "\n" + differences.text();
}

std::string Comparison::html(int64_t points) const {
  Json data{{"summary", json()}, {"curves", Json::array()}, {"caveats", caveats()}};
  for (const auto& run : runs_) data["curves"].push_back(curves(run, points));
  return filled_page(kComparisonPage, data);
}

std::vector<std::string> Comparison::caveats() const {
  std::vector<std::string> found;
  const auto& first = runs_.front();
  for (const auto& run : runs_) {
    if (run.last_step < run.total_steps)
      found.push_back(run.label + " is not finished: step " + format_thousands(run.last_step) + " of " +
                      format_thousands(run.total_steps));
    if (run.losses.empty()) {
      found.push_back(run.label + " was never evaluated");
    } else if (run.evaluations.back().step < run.last_step) {
      found.push_back(run.label + " was last evaluated at step " + format_thousands(run.evaluations.back().step) +
                      " of " + format_thousands(run.last_step));
    }
    // Whole rows make a step's tokens differ by a little between lengths.
    if (std::fabs(static_cast<double>(run.tokens) / static_cast<double>(first.tokens) - 1) > 0.005)
      found.push_back(run.label + " trained " +
                      percent(ratio(static_cast<double>(run.tokens), static_cast<double>(first.tokens))) +
                      " of the tokens of " + first.label);
  }
  return found;
}

std::vector<RunPoint> thinned(const std::vector<RunPoint>& points, int64_t count) {
  if (static_cast<int64_t>(points.size()) <= count) return points;
  std::vector<RunPoint> means;
  const auto size = static_cast<int64_t>(points.size());
  for (int64_t group = 0; group < count; ++group) {
    const int64_t begin = group * size / count, end = (group + 1) * size / count;
    double sum = 0;
    int64_t finite = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (!std::isfinite(points[i].loss)) continue;
      sum += points[i].loss;
      ++finite;
    }
    means.push_back(points[end - 1]);
    means.back().loss = finite > 0 ? sum / static_cast<double>(finite) : std::numeric_limits<double>::quiet_NaN();
  }
  return means;
}

}  // namespace accordion
