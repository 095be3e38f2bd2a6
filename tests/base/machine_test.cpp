#include "base/machine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace accordion {
namespace {

TEST(Machine, MeasuresThePeakOfAPartOfItsLife) {
  constexpr size_t kBytes = size_t{64} << 20, kLess = size_t{60} << 20;
  const auto touch = [](size_t bytes) {
    const auto memory = std::make_unique_for_overwrite<char[]>(bytes);
    std::memset(memory.get(), 1, bytes);
    return memory[bytes / 2];
  };
  EXPECT_EQ(touch(2 * kBytes), 1);  // before: does not count
  const int64_t before = resident_bytes();
  const ResidentPeak peak;
  EXPECT_EQ(touch(kBytes), 1);
  EXPECT_GT(peak.bytes() - before, int64_t(kLess));
  EXPECT_LT(peak.bytes() - before, int64_t(2 * kBytes - (kBytes - kLess)));
}

TEST(Machine, HasMemory) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LE(available_memory(), usable_memory());
}

}  // namespace
}  // namespace accordion
