#include "memory/disk.h"

#include <gtest/gtest.h>

#include "op/torch.h"

namespace accordion::memory {

/// Places of odd sizes that come and go: none ever touches another one's values.
TEST(DiskFile, PlacesKeepTheirValues) {
  const auto file = DiskFile::open(testing::TempDir());
  struct Held {
    torch::Tensor values;
    uint8_t mark;
  };
  std::vector<Held> held;
  for (int64_t turn = 0; turn < 200; ++turn) {
    const int64_t bytes = 1 + turn * 7919 % 20'000;
    const auto values = file->map(file->reserve(bytes), {bytes}, torch::kByte);
    const auto mark = static_cast<uint8_t>(1 + turn % 255);
    values.fill_(mark);
    page_out(values);
    held.push_back({values, mark});
    if (turn % 3 == 2) held.erase(held.begin() + turn % static_cast<int64_t>(held.size()));
    for (const auto& one : held) ASSERT_TRUE(one.values.eq(one.mark).all().item<bool>()) << turn;
  }
}

TEST(DiskFile, AGapIsUsedAgain) {
  const auto file = DiskFile::open(testing::TempDir());
  auto first = file->reserve(8192);
  const auto second = file->reserve(4096);
  const auto place = first->offset();
  first.reset();
  EXPECT_NE(file->reserve(8193)->offset(), place) << "too small for it";
  EXPECT_EQ(file->reserve(8192)->offset(), place);
}

}  // namespace accordion::memory
