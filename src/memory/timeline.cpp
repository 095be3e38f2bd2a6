#include "memory/timeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/machine.h"

namespace accordion::memory {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBetweenSamples = 1;  // ms; reading RSS takes some 50 us

struct Recorder {
  std::atomic<bool> on{false};
  std::mutex mutex;
  Clock::time_point start;
  Timeline timeline;

  double now() const { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

  /// Holds twice the points that are wanted in the end, so that thinning is rare.
  void point(double at) {
    auto& points = timeline.points;
    points.push_back({at, meter().phase(), meter().live()});
    if (points.size() >= 2 * kMostPoints) points = thinned(points, kMostPoints);
  }
};

Recorder& recorder() {
  static auto* const only = new Recorder;  // never destroyed, like the meter
  return *only;
}

}  // namespace

std::vector<Timeline::Point> thinned(const std::vector<Timeline::Point>& points, size_t count) {
  if (points.size() <= count) return points;
  std::vector<Timeline::Point> kept;
  kept.reserve(2 * kMostPoints);
  const size_t groups = count / 2;
  const auto lower = [](const Timeline::Point& a, const Timeline::Point& b) { return a.live.total() < b.live.total(); };
  for (size_t group = 0; group < groups; ++group) {
    const auto begin = points.begin() + int64_t(group * points.size() / groups),
               end = points.begin() + int64_t((group + 1) * points.size() / groups);
    const auto [least, most] = std::minmax_element(begin, end, lower);
    kept.push_back(*std::min(least, most));
    if (least != most) kept.push_back(*std::max(least, most));
  }
  return kept;
}

void start_timeline() {
  auto& to = recorder();
  {
    const std::lock_guard lock(to.mutex);
    to.timeline = {};
    to.timeline.points.reserve(2 * kMostPoints);
    to.start = Clock::now();
    to.on = true;
  }
  timeline_phase();
}

double timeline_now() { return recorder().now(); }

Timeline finish_timeline() {
  auto& from = recorder();
  timeline_phase();
  const std::lock_guard lock(from.mutex);
  from.on = false;
  auto timeline = std::exchange(from.timeline, {});
  timeline.points = thinned(timeline.points, kMostPoints);
  return timeline;
}

void timeline_event(int64_t bytes) {
  auto& to = recorder();
  if (!to.on.load(std::memory_order_relaxed) || bytes < kRecordedBytes) return;
  const std::lock_guard lock(to.mutex);
  if (to.on) to.point(to.now());
}

void timeline_phase() {
  auto& to = recorder();
  if (!to.on.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(to.mutex);
  const double now = to.now();
  to.point(now);
  auto& resident = to.timeline.resident;
  if (resident.empty() || now - resident.back().at >= kBetweenSamples) resident.push_back({now, resident_bytes()});
}

}  // namespace accordion::memory
