#include "train/timeline.h"

#include <filesystem>
#include <numeric>

#include "base/files.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {

TimelineFile::TimelineFile(std::string path, std::string title) : path_(std::move(path)) {
  if (path_.empty()) return;
  report_.title = std::move(title);
  report_.kinds = all_names<memory::Kind>();
  report_.phases = all_names<memory::Phase>();
  try {
    make_folders(fs::path(path_).parent_path() / ".");
    check_writable(path_);
  } catch (const UserError& error) {
    throw UserError("memory.timeline: " + std::string(error.what()) + "; name an HTML file to write");
  }
}

TimelineFile::~TimelineFile() {
  if (recording()) memory::finish_timeline();  // the run ended by an error
}

void TimelineFile::begin_step(int64_t number, int64_t length, int64_t rows) {
  if (path_.empty()) return;
  if (report_.steps.empty()) memory::start_timeline();
  report_.steps.push_back({number, length, rows, memory::timeline_now(), 0});
}

bool TimelineFile::end_step() {
  if (!recording()) return false;
  report_.steps.back().end = memory::timeline_now();
  for (size_t phase = 0; phase < memory::kPhases; ++phase) {
    const auto top = memory::peak_of(static_cast<memory::Phase>(phase));
    if (top.total() <= std::accumulate(report_.peak.begin(), report_.peak.end(), int64_t{0})) continue;
    report_.peak_phase = report_.phases[phase];
    report_.peak.assign(top.bytes.begin(), top.bytes.end());
  }
  return report_.steps.size() == kSteps && close();
}

bool TimelineFile::close() {
  if (!recording()) return false;
  const auto timeline = memory::finish_timeline();
  report_.live.resize(memory::kKinds);
  for (const auto& point : timeline.points) {
    report_.at.push_back(point.at);
    report_.phase.push_back(static_cast<int64_t>(point.phase));
    for (size_t kind = 0; kind < memory::kKinds; ++kind) report_.live[kind].push_back(point.live.bytes[kind]);
  }
  for (const auto& sample : timeline.resident) {
    report_.resident_at.push_back(sample.at);
    report_.resident.push_back(sample.bytes);
  }
  write_file(path_, timeline_html(report_));
  report_ = {};
  path_.clear();
  return true;
}

}  // namespace accordion
