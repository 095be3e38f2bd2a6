#include "train/stream.h"

#include <algorithm>

#include "base/text.h"
#include "data/tokenizer.h"

namespace accordion {
namespace {

bool same_rows(const StepPlan& a, const StepPlan& b) {
  return a.rows == b.rows && a.length == b.length && a.read_length == b.read_length && a.source == b.source;
}

}  // namespace

Stream::Stream(const Recipe& recipe) {
  auto open = [&](const std::string& name, const std::vector<accordion::Source>& sources) {
    Loader loader(sources, recipe.data.shuffle, recipe.seed);
    auto cursor = loader.cursor();
    sources_.emplace(name, Source{std::move(loader), std::move(cursor)});
  };
  open("", recipe.data.train);
  for (const auto& segment : recipe.length_schedule.segments)
    if (!segment.source.empty() && !sources_.contains(segment.source)) open(segment.source, {{segment.source, 1.0}});
  if (recipe.length_schedule.preserve_eos) eos_ = Tokenizer::load(recipe.data.train.front().path).end_of_text();
}

Batch Stream::read(const StepPlan& plan) {
  return sources_.at(plan.source).loader.next(plan.rows, plan.length, plan.read_length, eos_);
}

Batch Stream::next(const StepPlan& plan, const std::optional<StepPlan>& following) {
  std::optional<Batch> batch;
  if (ahead_ && same_rows(ahead_->plan, plan)) {
    batch = ahead_->rows.get();
    ahead_.reset();
  } else {
    discard_ahead();
    batch = read(plan);
  }
  auto& source = sources_.at(plan.source);
  source.cursor = source.loader.cursor();
  if (following)
    ahead_ = Ahead{*following, std::async(std::launch::async, [this, plan = *following] { return read(plan); })};
  return std::move(*batch);
}

void Stream::discard_ahead() {
  if (!ahead_) return;
  ahead_->rows.wait();
  auto& source = sources_.at(ahead_->plan.source);
  source.loader.restore(source.cursor);
  ahead_.reset();
}

nlohmann::json Stream::cursors() const {
  auto all = nlohmann::json::object();
  for (const auto& [name, source] : sources_) all[as_utf8(name)] = source.cursor;
  return all;
}

void Stream::restore(const nlohmann::json& cursors) {
  discard_ahead();
  for (auto& [name, source] : sources_) {
    const auto key = as_utf8(name);
    if (!cursors.contains(key)) continue;  // a corpus that only the rest of the schedule names
    source.loader.restore(cursors[key]);
    source.cursor = cursors[key];
  }
}

int64_t Stream::vocabulary() const {
  int64_t largest = 0;
  for (const auto& [name, source] : sources_) largest = std::max(largest, source.loader.vocabulary());
  return largest;
}

void Stream::expect_ids_below(int64_t vocabulary) {
  for (auto& [name, source] : sources_) source.loader.expect_ids_below(vocabulary);
}

nlohmann::json Stream::fingerprint() const {
  auto all = nlohmann::json::object();
  for (const auto& [name, source] : sources_) all[as_utf8(name)] = source.loader.fingerprint();
  return all;
}

}  // namespace accordion
