#include "bench/longest.h"

#include <algorithm>

namespace accordion {
namespace {

constexpr double kFactor = 1.25, kLargestFactor = 4;
constexpr double kClose = 0.02;    // of the length: then the search ends
constexpr double kMargin = 0.008;  // beside the length that both ends' bytes point at
constexpr int kGuesses = 4;        // before the search halves what is left

int64_t round_down(double length) { return static_cast<int64_t>(length) / kLengthGrain * kLengthGrain; }

/// What is known: the longest that fits and the shortest that does not.
struct Bracket {
  std::optional<Trial> low, high;
  int guesses = 0;

  double factor(const Trial& trial, double budget) const {
    if (trial.bytes <= 0) return kFactor;
    return std::clamp(std::max(budget / trial.bytes, trial.bytes / budget), kFactor, kLargestFactor);
  }

  /// The next length to try; 0 = done.
  int64_t next(int64_t start, int64_t limit, double budget) {
    if (!low && !high) return std::clamp(round_down(double(start)), kLengthGrain, limit);
    if (!high) {
      if (low->length >= limit) return 0;
      return std::clamp(round_down(double(low->length) * factor(*low, budget)), low->length + kLengthGrain, limit);
    }
    if (!low) {
      if (high->length <= kLengthGrain) return 0;
      return std::clamp(round_down(double(high->length) / factor(*high, budget)), kLengthGrain,
                        high->length - kLengthGrain);
    }
    const int64_t width = high->length - low->length;
    if (width <= kLengthGrain || double(width) <= kClose * double(low->length)) return 0;
    if (low->bytes < high->bytes && ++guesses <= kGuesses) {
      // A trial on each side of the guess, and it is known to within 2 %.
      const double share = (budget - low->bytes) / (high->bytes - low->bytes);
      const double guess = double(low->length) + share * double(width);
      const int64_t below = round_down(guess * (1 - kMargin)), above = round_down(guess * (1 + kMargin)) + kLengthGrain;
      if (below > low->length) return below;
      if (above < high->length) return above;
    }
    return round_down(double(low->length + width / 2));
  }
};

}  // namespace

std::optional<Trial> longest_row_tried(int64_t start, int64_t limit, double budget,
                                       const std::function<Trial(int64_t length)>& attempt) {
  Bracket bracket;
  while (const int64_t length = bracket.next(start, limit, budget)) {
    const Trial trial = attempt(length);
    (trial.fits ? bracket.low : bracket.high) = trial;
  }
  return bracket.low;
}

}  // namespace accordion
