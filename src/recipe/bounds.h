#pragma once

#include <limits>

namespace accordion {

/// The least and the most that a number in a recipe may be.
struct Bounds {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};
inline constexpr Bounds kAtLeastOne{.min = 1};
inline constexpr Bounds kNotNegative{.min = 0};
inline constexpr Bounds kShare{.min = 0, .max = 1};

}  // namespace accordion
