#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/text.h"

namespace accordion {

/// 64-bit FNV-1a: tells files and token streams apart; not cryptographic.
class Hash {
 public:
  void add(uint64_t value) { state_ = (state_ ^ value) * 0x100000001b3; }
  void add(std::string_view bytes) {
    for (const char byte : bytes) add(static_cast<uint64_t>(static_cast<unsigned char>(byte)));
  }
  std::string text() const { return format("%016llx", static_cast<unsigned long long>(state_)); }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

/// A well mixed 64-bit value of (a, b), the same on every machine: the finaliser of SplitMix64 (Steele 2014).
inline uint64_t mix(uint64_t a, uint64_t b = 0) {
  uint64_t z = a + 0x9e3779b97f4a7c15 * (b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace accordion
