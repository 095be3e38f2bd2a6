#include "report/run_log.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/json.h"
#include "base/paths.h"
#include "base/text.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr const char* kMetrics = "metrics.jsonl";
constexpr const char* kLog = "log.txt";
constexpr std::string_view kEvents = "events.out.tfevents.";

fs::path created(const fs::path& folder) {
  make_folders(folder);
  return folder;
}

/// Rewrites `path` without the lines that `belongs` refuses and without a last line that has no end.
template <class Belongs>
void keep_lines(const fs::path& path, Belongs belongs) {
  if (!stands(path)) return;
  const auto content = read_file(path);
  std::string kept;
  for (size_t begin = 0, end; (end = content.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const auto line = content.substr(begin, end - begin);
    if (belongs(line)) kept += line + "\n";
  }
  if (kept.size() != content.size()) write_file(path, kept);
}

/// Whether an evaluation of step `step` at this length is to come, so that what the log says of it goes.
bool is_to_come(const ResumePoint& at, int64_t step, int64_t length) {
  return step == at.step && std::find(at.lengths_left.begin(), at.lengths_left.end(), length) != at.lengths_left.end();
}

fs::path trimmed_metrics(const fs::path& folder, const ResumePoint& at) {
  const auto path = folder / kMetrics;
  keep_lines(path, [&](const std::string& line) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    const auto number = [&](const char* key) {
      return record.is_object() && record.contains(key) && record[key].is_number_integer() ? record[key].get<int64_t>()
                                                                                           : -1;
    };
    const auto step = number("step");
    if (step < 0 || step > at.step) return false;
    return record["type"] != "eval" || !is_to_come(at, step, number("length"));
  });
  return path;
}

/// A line of log.txt that begins with `step N` belongs to that step, any other to the step of the line before it.
fs::path trimmed_log(const fs::path& folder, const ResumePoint& at) {
  const auto path = folder / kLog;
  int64_t step = 0;
  keep_lines(path, [&](const std::string& line) {
    if (line.starts_with("step ") && line.size() > 5 && std::isdigit(static_cast<unsigned char>(line[5])))
      step = std::atoll(line.c_str() + 5);
    constexpr std::string_view evaluated = " | evaluation | length ";
    const auto place = line.find(evaluated);
    return step <= at.step &&
           (place == std::string::npos || !is_to_come(at, step, std::atoll(line.c_str() + place + evaluated.size())));
  });
  return path;
}

/// A record's keys in their order; a record within it becomes an object.
template <class Record>
void add_keys(nlohmann::ordered_json& json, const Record& record) {
  record.visit([&]<class Value>(const char* key, const Value& value) {
    if constexpr (std::is_arithmetic_v<Value>) {
      json[key] = value;
    } else {
      add_keys(json[key], value);
    }
  });
}

}  // namespace

std::string step_line(const StepRecord& r, std::optional<double> seconds_left) {
  auto text = format("step %lld", static_cast<long long>(r.step));
  if (r.total_steps > 0) text += format("/%lld", static_cast<long long>(r.total_steps));
  text += format(" | length %lld x %lld | loss %.3f | lr %.1e | norm %.2f | ", static_cast<long long>(r.length),
                 static_cast<long long>(r.rows), r.loss, r.lr, r.grad_norm);
  text += format_count(r.tokens_per_second) + format(" tok/s | %.2f s | ", r.step_seconds);
  text += format_bytes(static_cast<double>(r.peak_bytes));
  if (seconds_left) text += " | eta " + format_duration(*seconds_left);
  return r.skipped ? text + " | skipped: loss or gradient is not finite" : text;
}

RunLog::RunLog(fs::path folder, TerminalOptions options, const ResumePoint& resume)
    : folder_(created(folder)),
      options_(options),
      metrics_(trimmed_metrics(folder_, resume), true),
      log_(trimmed_log(folder_, resume), true),
      events_(folder_, resume.step + 1) {}

RunLog::~RunLog() = default;

template <class Record>
void RunLog::metric(const char* type, const Record& record) {
  nlohmann::ordered_json json{{"type", type}};
  add_keys(json, record);
  metrics_.write(json_text(json) + "\n");  // NaN and infinity become null
  metrics_.flush();
}

void RunLog::line(const std::string& text, std::FILE* stream) {
  log_.write(text + "\n");
  log_.flush();
  if (bar_) bar_->hide();
  std::fprintf(stream, "%s\n", text.c_str());
  std::fflush(stream);
  if (bar_) bar_->show();
}

/// The steps left at the mean speed of this session, unless the record knows better.
std::optional<double> RunLog::seconds_left(const StepRecord& r) {
  if (!from_) from_ = {r.step - 1, r.seconds - r.step_seconds};
  if (r.seconds_left || r.total_steps <= 0) return r.seconds_left;
  const auto steps = static_cast<double>(r.step - from_->first), left = static_cast<double>(r.total_steps - r.step);
  return (r.seconds - from_->second) / std::max(steps, 1.0) * std::max(left, 0.0);
}

void RunLog::step(const StepRecord& r) {
  metric("step", r);
  events_.scalars(r.step, {{"loss", r.loss},
                           {"lr", r.lr},
                           {"grad_norm", r.grad_norm},
                           {"length", static_cast<double>(r.length)},
                           {"tokens", static_cast<double>(r.tokens)},
                           {"tokens_per_second", r.tokens_per_second},
                           {"step_seconds", r.step_seconds},
                           {"peak_bytes", static_cast<double>(r.peak_bytes)}});
  const auto left = seconds_left(r);
  done_ = static_cast<double>(r.step);
  if (!bar_ && draws_bars(options_))
    bar_ = std::make_unique<Progress>("training", static_cast<double>(r.total_steps), options_);
  if (bar_) bar_->update(done_, format_count(r.tokens_per_second) + " tok/s", left);
  line(step_line(r, left), options_.output);
}

void RunLog::evaluation(const EvalRecord& r) {
  metric("eval", r);
  events_.scalars(r.step, {{format("eval/loss_at_%lld", static_cast<long long>(r.length)), r.loss}});
  line(format("step %lld | evaluation | length %lld | loss %.3f | perplexity %.2f | %.1f s",
              static_cast<long long>(r.step), static_cast<long long>(r.length), r.loss, std::exp(r.loss),
              r.eval_seconds),
       options_.output);
}

void RunLog::length(const LengthRecord& r) {
  metric("length", r);
  line(format("step %lld | the length goes from %lld to %lld, rows of a step: %lld", static_cast<long long>(r.step),
              static_cast<long long>(r.from), static_cast<long long>(r.to), static_cast<long long>(r.rows)),
       options_.output);
}

void RunLog::note(const std::string& text) { line(text, options_.output); }

void RunLog::warning(const std::string& text) { line("warning: " + text, options_.messages); }

void RunLog::activity(const std::string& text) {
  if (!bar_) return;
  bar_->update(done_, text);
  bar_->show();  // at once: what follows may take long
}

void RunLog::print(const std::string& text) {
  line(text.ends_with('\n') ? text.substr(0, text.size() - 1) : text, options_.output);
}

void RunLog::sync() {
  metrics_.sync();
  log_.sync();
  events_.sync();
}

std::vector<fs::path> run_files(const fs::path& folder) {
  std::vector<fs::path> found;
  const auto collect = [&](const fs::path& place, auto&& ours) {
    for (const auto& path : entries_of(place)) {
      auto name = path.filename().string();
      if (name.ends_with(".partial") || name.ends_with(".replaced")) name = path.stem().string();
      if (ours(name)) found.push_back(path);
    }
  };
  collect(folder, [](const std::string& name) {
    return name == "recipe.yaml" || name == kMetrics || name == kLog || name == "final" || name.starts_with(kEvents);
  });
  collect(folder / "checkpoints",
          [](const std::string& name) { return name == "latest" || name.starts_with("step-"); });
  return found;
}

void remove_run_files(const fs::path& folder) {
  for (const auto& path : run_files(folder)) remove_tree(path);
  // Not a link, and not a folder that still holds something of somebody's.
  remove_empty({folder, folder / "checkpoints"});
}

}  // namespace accordion
