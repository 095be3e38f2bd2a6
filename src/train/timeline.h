#pragma once

#include <string>
#include <vector>

#include "memory/timeline.h"
#include "report/timeline.h"

namespace accordion {

/// `memory.timeline` of a recipe: records the first kSteps steps of this process and writes the page.
class TimelineFile {
 public:
  static constexpr size_t kSteps = 3;

  /// An empty path: everything else does nothing. `title` says what runs. Makes the file's folder where it is missing,
  /// so that a path that cannot be written fails before anything was trained. UserError for that.
  TimelineFile(std::string path, std::string title);
  ~TimelineFile();
  TimelineFile(const TimelineFile&) = delete;
  TimelineFile& operator=(const TimelineFile&) = delete;

  /// Call after memory::reset_phases(), before anything of the step was made.
  void begin_step(int64_t number, int64_t length, int64_t rows);
  /// Returns true where that was the last step recorded and the page is written. UserError where it cannot be.
  bool end_step();
  /// The same for a run that ends earlier.
  bool close();

 private:
  bool recording() const { return !path_.empty() && !report_.steps.empty(); }

  std::string path_;  // empty again once the page is written
  TimelineReport report_;
};

}  // namespace accordion
