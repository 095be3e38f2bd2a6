#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace accordion {

/// Live bytes by kind over some steps, in columns as the page draws them. Times are milliseconds.
struct TimelineReport {
  std::string title;                       // what ran
  std::vector<std::string> kinds, phases;  // names
  std::vector<double> at;                  // of each point, ascending
  std::vector<int64_t> phase;              // of each point, its place in `phases`
  std::vector<std::vector<int64_t>> live;  // of each kind: bytes from each point to the next
  std::vector<double> resident_at;         // of each sample of the process's RSS
  std::vector<int64_t> resident;           // bytes
  struct Step {
    int64_t number, length, rows;
    double begin, end;
  };
  std::vector<Step> steps;
  std::string peak_phase;     // where the most was live
  std::vector<int64_t> peak;  // what was live then, of each kind
};

/// A page that stands by itself: stacked areas by kind over time with the phases marked, the peak by name, and RSS
/// below. Its data is one line of JSON, `const data = {...};`.
std::string timeline_html(const TimelineReport& report);

}  // namespace accordion
