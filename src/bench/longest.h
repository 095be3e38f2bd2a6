#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "bench/step.h"

namespace accordion {

/// One try at training something of a size: a row of so many tokens, or so many rows.
struct Trial {
  int64_t size = 0;
  bool fits = false;
  double bytes = 0;  ///< what counts against the budget; 0 = not known, as it did not come to its end
  StepMemory memory = {};
};

/// Lengths that are tried are multiples of this.
inline constexpr int64_t kLengthGrain = 64;

/// The largest size, a multiple of `grain` up to `limit`, that was tried and fits into `budget` bytes; none where even
/// the smallest does not. Begins at `start`, goes up or down by the factor that the bytes of the last trial point at,
/// and ends where a trial has used the budget but for 1.5 %, or where the smallest known not to fit is within 2 %.
/// `attempt` makes a trial; long ones are slow, so few are made.
std::optional<Trial> largest_tried(int64_t start, int64_t limit, int64_t grain, double budget,
                                   const std::function<Trial(int64_t size)>& attempt);

}  // namespace accordion
