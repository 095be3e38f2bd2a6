#include "report/timeline.h"

#include <cmath>

#include "report/page.h"

namespace accordion {
namespace {

using Json = nlohmann::ordered_json;

/// Microseconds are enough for the eye, and make a page half as large as all digits would.
Json rounded(const std::vector<double>& milliseconds) {
  Json list = Json::array();
  for (const double value : milliseconds) list.push_back(std::round(value * 1000) / 1000);
  return list;
}

}  // namespace

std::string timeline_html(const TimelineReport& report) {
  Json steps = Json::array();
  for (const auto& step : report.steps)
    steps.push_back({{"step", step.number},
                     {"length", step.length},
                     {"rows", step.rows},
                     {"begin", std::round(step.begin * 1000) / 1000},
                     {"end", std::round(step.end * 1000) / 1000}});
  return filled_page(kTimelinePage, {{"title", report.title},
                                     {"kinds", report.kinds},
                                     {"phases", report.phases},
                                     {"at", rounded(report.at)},
                                     {"phase", report.phase},
                                     {"live", report.live},
                                     {"resident", {{"at", rounded(report.resident_at)}, {"bytes", report.resident}}},
                                     {"steps", steps},
                                     {"peak", {{"phase", report.peak_phase}, {"bytes", report.peak}}}});
}

}  // namespace accordion
