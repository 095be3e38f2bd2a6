#include "data/permutation.h"

#include "data/hash.h"

namespace accordion {

Permutation::Permutation(int64_t size, int64_t seed, int64_t epoch)
    : size_(static_cast<uint64_t>(size)), key_(mix(static_cast<uint64_t>(seed), static_cast<uint64_t>(epoch))) {
  while (half_bits_ < 32 && (uint64_t{1} << (2 * half_bits_)) < size_) ++half_bits_;
}

int64_t Permutation::operator()(int64_t place) const {
  constexpr int kRounds = 6;
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<uint64_t>(place);
  do {
    uint64_t left = value >> half_bits_, right = value & mask;
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t mixed = left ^ (mix(key_ ^ right, static_cast<uint64_t>(round)) & mask);
      left = right;
      right = mixed;
    }
    value = left << half_bits_ | right;
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

}  // namespace accordion
