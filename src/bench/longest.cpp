#include "bench/longest.h"

#include <algorithm>

namespace accordion {
namespace {

constexpr double kFactor = 1.25, kLargestFactor = 4;  // to the next size: without its bytes known, and at most
constexpr double kEnough = 0.985;                     // of the budget used: then the search ends
constexpr double kClose = 0.02;                       // of the size: then the search ends
constexpr double kMargin = 0.008;                     // beside the size that both ends' bytes point at
constexpr int kGuesses = 4;                           // before the search halves what is left

/// What is known: the largest that fits and the smallest that does not.
struct Bracket {
  int64_t grain = 1;
  std::optional<Trial> low, high;
  int guesses = 0;

  int64_t round_down(double size) const { return static_cast<int64_t>(size) / grain * grain; }

  /// Bytes grow by no more than in proportion to the size, so this leads from a trial that fits to one that fits too.
  double factor(const Trial& trial, double budget) const {
    if (trial.bytes <= 0) return kFactor;
    return std::min(std::max(budget / trial.bytes, trial.bytes / budget), kLargestFactor);
  }

  /// The next size to try; 0 = done.
  int64_t next(int64_t start, int64_t limit, double budget) {
    if (!low && !high) return std::clamp(round_down(double(start)), grain, limit);
    if (low && (low->size >= limit || low->bytes >= kEnough * budget)) return 0;
    if (!high) {
      return std::clamp(round_down(double(low->size) * factor(*low, budget)), low->size + grain, limit);
    }
    if (!low) {
      if (high->size <= grain) return 0;
      return std::clamp(round_down(double(high->size) / factor(*high, budget) * (1 - kMargin)), grain,
                        high->size - grain);
    }
    const int64_t width = high->size - low->size;
    if (width <= grain || double(width) <= kClose * double(low->size)) return 0;
    if (low->bytes < high->bytes && ++guesses <= kGuesses) {
      // A trial on each side of the guess, and it is known to within 2 %.
      const double share = (budget - low->bytes) / (high->bytes - low->bytes);
      const double guess = double(low->size) + share * double(width);
      const int64_t below = round_down(guess * (1 - kMargin)), above = round_down(guess * (1 + kMargin)) + grain;
      if (below > low->size) return below;
      if (above < high->size) return above;
    }
    return round_down(double(low->size + width / 2));
  }
};

}  // namespace

std::optional<Trial> largest_tried(int64_t start, int64_t limit, int64_t grain, double budget,
                                   const std::function<Trial(int64_t size)>& attempt) {
  Bracket bracket;
  bracket.grain = grain;
  while (const int64_t size = bracket.next(start, limit, budget)) {
    const Trial trial = attempt(size);
    (trial.fits ? bracket.low : bracket.high) = trial;
  }
  return bracket.low;
}

}  // namespace accordion
