#pragma once

#include <algorithm>

namespace accordion {

/// Bytes that are held, and the most so far.
class Ledger {
 public:
  void take(double bytes) {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }
  void give(double bytes) { now_ -= bytes; }
  /// Takes and gives back.
  void touch(double bytes) {
    take(bytes);
    give(bytes);
  }
  double now() const { return now_; }
  /// The most since the last call.
  double end_phase() {
    const double most = peak_;
    peak_ = now_;
    return most;
  }

 private:
  double now_ = 0, peak_ = 0;
};

}  // namespace accordion
