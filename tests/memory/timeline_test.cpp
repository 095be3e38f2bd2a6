#include "memory/timeline.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "memory/allocator.h"
#include "op/torch.h"

namespace accordion::memory {
namespace {

torch::Tensor bytes(int64_t count) { return torch::empty({count}, torch::kByte); }

int64_t highest(const std::vector<Timeline::Point>& points) {
  int64_t most = 0;
  for (const auto& point : points) most = std::max(most, point.live.total());
  return most;
}

class Timelines : public testing::Test {
 protected:
  void SetUp() override { tune_allocator(); }
};

TEST_F(Timelines, HoldLargeBlocksAndPhases) {
  const int64_t before = current_bytes();
  start_timeline();
  {
    const PhaseScope phase(Phase::head);
    const KindScope kind(Kind::workspace);
    const auto large = bytes(kRecordedBytes);
    const auto small = bytes(kRecordedBytes - 1);
  }
  const auto timeline = finish_timeline();
  bytes(kRecordedBytes);                  // not recorded any more
  ASSERT_EQ(timeline.points.size(), 6U);  // start, into the phase, made, freed, out of it, end
  const std::vector<int64_t> expected{0, 0, kRecordedBytes, 0, 0, 0};
  const std::vector<Phase> phases{Phase::other, Phase::head, Phase::head, Phase::head, Phase::other, Phase::other};
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(timeline.points[i].live.total() - before, expected[i]) << i;
    EXPECT_EQ(timeline.points[i].phase, phases[i]) << i;
    EXPECT_GE(timeline.points[i].at, timeline.points[i == 0 ? 0 : i - 1].at) << i;
  }
  ASSERT_FALSE(timeline.resident.empty());
  EXPECT_GT(timeline.resident[0].bytes, 1 << 20);
  EXPECT_TRUE(finish_timeline().points.empty());
}

TEST_F(Timelines, ThinningKeepsThePeak) {
  start_timeline();
  reset_peak();
  std::vector<torch::Tensor> held;
  for (int64_t i = 0; i < 100'000; ++i) {
    if (i == 61'803) held.push_back(bytes(40 * kRecordedBytes));
    if (i == 61'804) held.clear();
    bytes(kRecordedBytes + i % 100);
  }
  const auto timeline = finish_timeline();
  EXPECT_LE(timeline.points.size(), kMostPoints);
  EXPECT_GT(timeline.points.size(), kMostPoints / 4);
  EXPECT_EQ(highest(timeline.points), peak_bytes());
  EXPECT_TRUE(std::is_sorted(timeline.points.begin(), timeline.points.end(),
                             [](const auto& a, const auto& b) { return a.at < b.at; }));
}

TEST_F(Timelines, ThinningKeepsBothEndsOfEachGroup) {
  std::vector<Timeline::Point> points(1000);
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].at = double(i);
    points[i].live.bytes[0] = int64_t(i * 7919 % 1009);
  }
  const auto kept = thinned(points, 10);
  ASSERT_EQ(kept.size(), 10U);
  EXPECT_EQ(highest(kept), highest(points));
  for (size_t group = 0; group < 5; ++group)
    for (const size_t i : {2 * group, 2 * group + 1}) EXPECT_EQ(size_t(kept[i].at) / 200, group);
  EXPECT_EQ(thinned(kept, 10).size(), 10U);
}

}  // namespace
}  // namespace accordion::memory
