#pragma once

#include <cstdint>
#include <vector>

#include "memory/meter.h"

namespace accordion::memory {

/// Live bytes by kind over time, in milliseconds since recording began.
struct Timeline {
  struct Point {
    double at = 0;
    Phase phase = Phase::other;
    Holding live;  ///< from here to the next point
  };
  struct Resident {
    double at = 0;
    int64_t bytes = 0;  ///< RSS of the process
  };
  std::vector<Point> points;       ///< by time, at most kMostPoints
  std::vector<Resident> resident;  ///< at changes of the phase, at most one a millisecond
};

inline constexpr size_t kMostPoints = 20'000;

/// A recorded tensor has at least so many bytes; points count smaller ones too, but none is made for them.
inline constexpr int64_t kRecordedBytes = int64_t{64} << 10;

/// Begins to record a point for every allocation and free of kRecordedBytes or more and every change of the phase.
/// What was recorded before is dropped. Costs some 100 ns a point and 5 MB at most beside the samples of RSS.
void start_timeline();
/// Milliseconds since then.
double timeline_now();
/// Ends the recording and hands it over. Where there were more points than kMostPoints, of each group of neighbours the
/// one with the least and the one with the most live bytes stay: the peak is never lost.
Timeline finish_timeline();

/// Called where something changes; they return at once while nothing is recorded.
void timeline_event(int64_t bytes);
void timeline_phase();

/// `points` as groups of two neighbours or more, of which the lowest and the highest stay; at most `count` (even) are
/// left. The first and last moments stay within the first and last group.
std::vector<Timeline::Point> thinned(const std::vector<Timeline::Point>& points, size_t count);

}  // namespace accordion::memory
