#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "bench/step.h"

namespace accordion {

/// One try at training a row of `length` tokens.
struct Trial {
  int64_t length = 0;
  bool fits = false;
  double bytes = 0;  ///< what counts against the budget; 0 = not known, as it did not come to its end
  StepMemory memory = {};
};

/// Lengths that are tried are multiples of this.
inline constexpr int64_t kLengthGrain = 64;

/// The longest row, a multiple of kLengthGrain up to `limit`, that was tried and fits into `budget` bytes; none where
/// even the shortest does not. Begins at `start`, goes up or down by factors of 1.25 (more, where the bytes of the last
/// trial say that more is safe) until one fits and one does not, and narrows that to within 2 %, near the length that
/// the bytes of both ends point at. `attempt` makes a trial; long ones are slow, so few are made.
std::optional<Trial> longest_row_tried(int64_t start, int64_t limit, double budget,
                                       const std::function<Trial(int64_t length)>& attempt);

}  // namespace accordion
