#include "data/permutation.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

namespace accordion {
namespace {

TEST(Permutation, VisitsEachPlaceOnce) {
  for (const int64_t size : {1, 2, 3, 7, 255, 256, 257, 1000, 65537}) {
    const Permutation order(size, 1, 0);
    std::vector<bool> seen(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
      const auto place = order(i);
      ASSERT_GE(place, 0);
      ASSERT_LT(place, size);
      ASSERT_FALSE(seen[static_cast<size_t>(place)]);
      seen[static_cast<size_t>(place)] = true;
    }
  }
}

TEST(Permutation, DependsOnSeedAndEpochAlone) {
  const Permutation order(1000, 5, 2), same(1000, 5, 2), seed(1000, 6, 2), epoch(1000, 5, 3);
  int64_t as_seed = 0, as_epoch = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(order(i), same(i));
    as_seed += order(i) == seed(i);
    as_epoch += order(i) == epoch(i);
  }
  EXPECT_LT(as_seed, 10);
  EXPECT_LT(as_epoch, 10);
  EXPECT_EQ(Permutation(1000, 1, 0)(0), 369);  // the same on every machine
}

TEST(Permutation, SendsEachPlaceEverywhere) {
  // The first place of 10, over 10,000 seeds: a chi-square of 9 degrees of freedom stays below 27.9 with p = 0.999.
  std::vector<double> counts(10);
  for (int64_t seed = 0; seed < 10000; ++seed) ++counts[static_cast<size_t>(Permutation(10, seed, 0)(0))];
  double chi_square = 0;
  for (const auto count : counts) chi_square += (count - 1000) * (count - 1000) / 1000;
  EXPECT_LT(chi_square, 27.9);
}

TEST(Permutation, SeparatesNeighbours) {
  const Permutation order(100000, 3, 0);
  double distance = 0;
  for (int64_t i = 0; i + 1 < 10000; ++i) distance += static_cast<double>(std::llabs(order(i + 1) - order(i)));
  EXPECT_NEAR(distance / 9999 / 100000, 1.0 / 3, 0.01);  // the mean distance of two random places
}

}  // namespace
}  // namespace accordion
