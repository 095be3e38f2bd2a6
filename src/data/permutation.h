#pragma once

#include <cstdint>

namespace accordion {

/// A pseudo-random permutation of 0..size-1 chosen by (seed, epoch), computed place by place: no table to build, keep
/// or restore, and the same on every machine. A Feistel network over the next even power of two whose values >= size
/// are mapped again until they fall inside (cycle walking: Black and Rogaway, 2002).
class Permutation {
 public:
  Permutation() = default;
  Permutation(int64_t size, int64_t seed, int64_t epoch);
  int64_t operator()(int64_t place) const;

 private:
  uint64_t size_ = 1, key_ = 0;
  int half_bits_ = 4;
};

}  // namespace accordion
