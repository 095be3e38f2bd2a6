#include "bench/longest.h"

#include <gtest/gtest.h>

#include <vector>

namespace accordion {
namespace {

struct Tries {
  std::vector<int64_t> lengths;
  std::optional<Trial> longest;
};

/// The search where a row of T tokens takes fixed + T * each bytes; from `known_to` on trials do not come to their end.
Tries search(int64_t start, int64_t limit, double budget, double fixed, double each, int64_t known_to = 1 << 30) {
  Tries tries;
  tries.longest = largest_tried(start, limit, kLengthGrain, budget, [&](int64_t length) {
    tries.lengths.push_back(length);
    EXPECT_EQ(length % kLengthGrain, 0);
    EXPECT_LE(length, limit);
    const double bytes = length < known_to ? fixed + each * static_cast<double>(length) : 0;
    return Trial{.size = length, .fits = bytes > 0 && bytes <= budget, .bytes = bytes};
  });
  return tries;
}

constexpr int64_t kFar = int64_t{1} << 30;

TEST(Longest, IsFoundWithinTwoPerCentByFewTrials) {
  for (const int64_t start : {0, 1000, 9000, 10000, 11000, 60000}) {
    const auto tries = search(start, kFar, 1.1e6, 1e5, 100);  // 10,000 tokens
    ASSERT_TRUE(tries.longest) << start;
    EXPECT_LE(tries.longest->size, 10000) << start;
    EXPECT_GE(tries.longest->size, 9800) << start;
    EXPECT_LE(tries.lengths.size(), start < 1000 ? 10u : 6u) << start;
  }
}

TEST(Longest, IsExactWhereTwoPerCentAreLessThanItsGrain) {
  EXPECT_EQ(search(512, kFar, 70000, 0, 100).longest->size, 640);
}

TEST(Longest, CountsRowsByOne) {
  const auto fits = [](int64_t rows) { return Trial{.size = rows, .fits = rows <= 7, .bytes = 100.0 * double(rows)}; };
  EXPECT_EQ(largest_tried(5, kFar, 1, 799, fits)->size, 7);
}

TEST(Longest, IsNoneWhereTheShortestDoesNotFit) {
  const auto tries = search(4096, kFar, 1000, 1e6, 100);
  EXPECT_FALSE(tries.longest);
  EXPECT_EQ(tries.lengths.back(), kLengthGrain);
}

TEST(Longest, StopsAtTheLimit) {
  const auto tries = search(4096, 1024, 1e12, 0, 100);
  EXPECT_EQ(tries.longest->size, 1024);
  EXPECT_EQ(tries.lengths.size(), 1u);
}

TEST(Longest, GoesOnWhereTrialsAreKilled) {
  const auto tries = search(20000, kFar, 1e12, 0, 100, 10000);
  EXPECT_LT(tries.longest->size, 10000);
  EXPECT_GE(tries.longest->size, 9800);
}

}  // namespace
}  // namespace accordion
