#include "memory/meter.h"

#include <gtest/gtest.h>

#include <thread>

#include "memory/allocator.h"
#include "op/attention.h"
#include "op/torch.h"

namespace accordion::memory {

class Meters : public testing::Test {
 protected:
  void SetUp() override {
    tune_allocator();
    reset_peak();
    reset_phases();
    before = live();
  }
  void TearDown() override {
    EXPECT_EQ(live().bytes, before.bytes);
    EXPECT_EQ(live().total(), current_bytes());
  }
  static torch::Tensor bytes(int64_t count) { return torch::empty({count}, torch::kByte); }
  int64_t since(Kind kind) const { return live().of(kind) - before.of(kind); }
  Holding before;
};

TEST_F(Meters, KindsAreThoseOfTheNarrowestScope) {
  const KindScope outer(Kind::weights);
  const auto a = bytes(1000);
  torch::Tensor b;
  {
    const KindScope inner(Kind::workspace);
    b = bytes(100'000);
  }
  const auto c = bytes(1);
  EXPECT_EQ(since(Kind::weights), 1001);
  EXPECT_EQ(since(Kind::workspace), 100'000);
  EXPECT_EQ(since(Kind::activations), 0);
  b.reset();  // outside of the scope that it was made in
  EXPECT_EQ(since(Kind::workspace), 0);
  EXPECT_EQ(live().total(), current_bytes());
}

TEST_F(Meters, ActivationsAreWhatNoScopeClaims) {
  const auto a = bytes(64);
  EXPECT_EQ(since(Kind::activations), 64);
}

TEST_F(Meters, APhasesPeakKnowsItsKinds) {
  {
    const PhaseScope phase(Phase::forward);
    const auto kept = bytes(3000);
    {
      const KindScope kind(Kind::workspace);
      const auto scratch = bytes(500'000);
    }
    const auto later = bytes(10'000);
    const auto top = peak_of(Phase::forward);
    EXPECT_EQ(top.of(Kind::activations) - before.of(Kind::activations), 3000);
    EXPECT_EQ(top.of(Kind::workspace) - before.of(Kind::workspace), 500'000);
    EXPECT_EQ(top.total() - before.total(), 503'000);
    EXPECT_EQ(top.total(), peak_bytes());
  }
  EXPECT_EQ(peak_of(Phase::other).total() - before.total(), 0);
  EXPECT_EQ(peak_of(Phase::head).total(), 0);
  const auto held = bytes(5000);
  reset_phases();
  EXPECT_EQ(peak_of(Phase::forward).total(), 0);
  EXPECT_EQ(peak_of(Phase::other).total(), before.total() + 5000) << "what is there as a step begins";
}

TEST_F(Meters, APhaseThatOnlyFreesPeaksAtItsStart) {
  auto a = bytes(70'000);
  const PhaseScope phase(Phase::backward);
  a.reset();
  EXPECT_EQ(peak_of(Phase::backward).total() - before.total(), 70'000);
}

TEST_F(Meters, PhasesNest) {
  const PhaseScope outer(Phase::backward);
  { const PhaseScope inner(Phase::optimizer); }
  const auto a = bytes(4096);
  EXPECT_EQ(peak_of(Phase::backward).total() - before.total(), 4096);
  EXPECT_EQ(peak_of(Phase::optimizer).total() - before.total(), 0);
}

TEST_F(Meters, ScopesHoldForOtherThreads) {
  const KindScope kind(Kind::workspace);
  torch::Tensor a;
  std::thread([&] { a = bytes(128); }).join();
  EXPECT_EQ(since(Kind::workspace), 128);
}

TEST_F(Meters, AddUpFromManyThreads) {
  std::atomic<bool> done{false};
  std::thread watcher([&] {  // a peak agrees with its kinds at any moment, and none falls
    int64_t last = 0;
    while (!done) {
      const auto top = peak_of(Phase::forward).total();
      EXPECT_GE(top, last);
      last = top;
    }
  });
  std::vector<std::thread> threads;
  {
    const PhaseScope phase(Phase::forward);
    for (int which = 0; which < 4; ++which) {
      threads.emplace_back([which] {
        std::vector<torch::Tensor> held(8);
        for (size_t i = 0; i < 3000; ++i) held[i % 8] = bytes(1 + int64_t(i * 7919 + size_t(which) * 104729) % 150'000);
      });
    }
    for (int i = 0; i < 3000; ++i) {
      const KindScope kind(static_cast<Kind>(i % int(kKinds)));
      const auto a = bytes(1 + i);
    }
    for (auto& thread : threads) thread.join();
  }
  done = true;
  watcher.join();
  const auto top = peak_of(Phase::forward);
  EXPECT_GT(top.total(), before.total());
  EXPECT_LE(top.total(), before.total() + 4 * 9 * 150'000 + 3000);  // a block is made before the one it replaces goes
}

/// What threads take at once depends on how they come, unless it is made before they begin.
TEST_F(Meters, AttentionHoldsTheSameEveryTime) {
  const auto most = [&](int64_t heads, int64_t key_heads) {
    const auto make = [&](int64_t count) { return torch::ones({1, 70, count, 8}).requires_grad_(true); };
    const auto q = make(heads), k = make(key_heads), v = make(key_heads);
    reset_peak();
    op::AttentionForm form;
    form.scale = 0.3;
    const auto y = op::attention(q, k, v, form).output;
    const int64_t forward = peak_bytes();
    reset_peak();
    y.sum().backward();
    return std::pair(forward, peak_bytes());
  };
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  for (const auto& [heads, key_heads] : {std::pair(8, 8), std::pair(4, 2), std::pair(1, 1)}) {
    const auto first = most(heads, key_heads);
    for (int time = 0; time < 40; ++time) EXPECT_EQ(most(heads, key_heads), first) << heads;
  }
  at::set_num_threads(threads);
}

}  // namespace accordion::memory
