#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "memory/allocator.h"
#include "memory/device.h"
#include "memory/layer_store.h"
#include "memory/meter.h"

/// Layer inputs in host memory and the meter of a GPU; skipped where there is none.
namespace accordion::memory {
namespace {

const OffloadRecipe kInHostMemory{.to = Offload::host, .path = {}, .optimizer = false};

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device here";
    use_device("cuda");
  }
  void TearDown() override { use_device("cpu"); }
};

TEST_F(Cuda, LayerInputsComeBackFromHostMemory) {
  const auto store = LayerStore::open(kInHostMemory, device());
  constexpr int kLayers = 12;
  std::vector<std::shared_ptr<LayerStore::Away>> away;
  torch::Tensor x = torch::ones({64, 1 << 18}, torch::device(device()));
  for (int layer = 0; layer < kLayers; ++layer) {
    away.push_back(store->put(x));
    // What a layer allocates takes the memory of the inputs before it as soon as that is free.
    torch::Tensor y = x;
    for (int i = 0; i < 4; ++i) y = y * 1.25 - y * 0.25;
    x = y + 1;
  }
  EXPECT_EQ(x.min().item<float>(), float(1 + kLayers));
  x.reset();
  for (int layer = kLayers - 1; layer >= 0; --layer) {
    torch::Tensor back = store->take(*away[size_t(layer)]);
    const torch::Tensor scratch = torch::full_like(back, -1);
    EXPECT_EQ(back.min().item<float>(), float(1 + layer));
    EXPECT_EQ(back.max().item<float>(), float(1 + layer));
  }
}

/// On their way out and in there is one layer's input each at most, however far the caller is ahead of the device.
TEST_F(Cuda, HostMemoryTakesLayerInputsOffTheDevice) {
  const auto store = LayerStore::open(kInHostMemory, device());
  constexpr int64_t kBytes = int64_t{64} << 20;
  const int64_t before = current_bytes();
  reset_peak();
  std::vector<std::shared_ptr<LayerStore::Away>> away;
  for (int layer = 0; layer < 20; ++layer) {
    away.push_back(store->put(torch::full({kBytes / 4}, layer, torch::dtype(torch::kFloat).device(device()))));
  }
  EXPECT_LE(peak_bytes() - before, 3 * kBytes);
  reset_peak();
  while (!away.empty()) {
    const torch::Tensor back = store->take(*away.back());
    EXPECT_EQ(back[0].item<float>(), float(away.size() - 1));
    away.pop_back();
  }
  EXPECT_LE(peak_bytes() - before, 3 * kBytes);
  EXPECT_EQ(current_bytes(), before);
}

TEST_F(Cuda, ItsTensorsAreCountedByKind) {
  const int64_t before = current_bytes(), weights_before = live().of(Kind::weights);
  constexpr int64_t kBytes = int64_t{1} << 20;  // a multiple of what the device's allocator rounds to
  const auto bytes = [&] { return torch::empty({kBytes}, torch::dtype(torch::kByte).device(device())); };
  torch::Tensor weights;
  {
    const KindScope kind(Kind::weights);
    weights = bytes();
  }
  {
    const torch::Tensor more = bytes();
    EXPECT_EQ(current_bytes() - before, 2 * kBytes);
  }
  EXPECT_EQ(current_bytes() - before, kBytes);
  EXPECT_EQ(live().of(Kind::weights) - weights_before, kBytes);
  const torch::Tensor leaf = weights.to(torch::kFloat).requires_grad_(true);
  leaf.square().sum().backward();  // in a thread of the device's
  EXPECT_EQ(current_bytes() - before, kBytes + 8 * kBytes);
  weights.reset();
  EXPECT_EQ(live().of(Kind::weights), weights_before);
}

}  // namespace
}  // namespace accordion::memory
