#include "memory/allocator.h"

#include <gtest/gtest.h>

#include <thread>

#include "op/torch.h"

namespace accordion::memory {

class Allocator : public testing::Test {
 protected:
  void SetUp() override {
    tune_allocator();
    release_kept();
    reset_peak();
    before = current_bytes();
  }
  int64_t before = 0;
};

TEST_F(Allocator, CountsLiveBytesExactly) {
  torch::Tensor a = torch::empty({1000}, torch::kFloat);
  EXPECT_EQ(current_bytes() - before, 4000);
  torch::Tensor b = torch::empty({3, 1 << 20}, torch::kBFloat16);
  EXPECT_EQ(current_bytes() - before, 4000 + (6 << 20));
  b.reset();
  EXPECT_EQ(current_bytes() - before, 4000);
  EXPECT_EQ(peak_bytes() - before, 4000 + (6 << 20));
  reset_peak();
  EXPECT_EQ(peak_bytes() - before, 4000);
  a.reset();
  EXPECT_EQ(torch::empty({0}).numel(), 0);
  EXPECT_EQ(current_bytes(), before);
}

TEST_F(Allocator, AlignsEveryTensor) {
  for (int64_t bytes = 1; bytes < (int64_t{8} << 20); bytes = bytes * 3 + 1) {
    const torch::Tensor tensor = torch::zeros({bytes}, torch::kByte);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u) << bytes;
    EXPECT_EQ(tensor.sum().item<int64_t>(), 0);
  }
}

TEST_F(Allocator, KeepsAndReusesBlocks) {
  torch::Tensor a = torch::empty({int64_t{10} << 20}, torch::kByte);
  const void* place = a.data_ptr();
  a.reset();
  EXPECT_GE(kept_bytes(), 10 << 20);
  a = torch::empty({(int64_t{10} << 20) - 5000}, torch::kByte);
  EXPECT_EQ(a.data_ptr(), place);
  EXPECT_EQ(kept_bytes(), 0);
  a.reset();
  release_kept();
  EXPECT_EQ(kept_bytes(), 0);
}

TEST_F(Allocator, WhatItKeepsIsBoundedByTheHighestUse) {
  // A ramp of lengths asks for a new size each step; old sizes must go.
  for (int64_t length = 8; length < 400; length += 8) {
    const torch::Tensor a = torch::empty({length, 1 << 18}, torch::kByte),
                        b = torch::empty({length, 1 << 17}, torch::kByte);
    EXPECT_LE(current_bytes() + kept_bytes(), (int64_t{400} << 18) * 2 + (int64_t{64} << 20));
  }
}

TEST_F(Allocator, WorksFromManyThreads) {
  std::vector<std::thread> threads;
  for (int which = 0; which < 4; ++which) {
    threads.emplace_back([which] {
      for (int64_t i = 0; i < 200; ++i) {
        const int64_t size = 1 + (i * 7919 + which * 104729) % 300000;
        const torch::Tensor a = torch::full({size}, double(which), torch::kFloat);
        ASSERT_EQ(a[size - 1].item<float>(), float(which));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(current_bytes(), before);
}

}  // namespace accordion::memory
