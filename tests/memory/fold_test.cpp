#include "memory/fold.h"

#include "op/gradients.h"

namespace accordion::memory {

using test::random_tensor;
using torch::Tensor;

/// A part of two inputs and a weight.
Part part_of(const Tensor& weight) {
  return [weight](const std::vector<Tensor>& in, Want) { return in[0] + (in[0] * in[1]).matmul(weight).tanh(); };
}

TEST(Fold, ByFiniteDifferences) {
  for (const int64_t chunk : {1, 3, 6, 7, 8}) {
    test::ExpectGradients(
        [&](const auto& in) {
          const Tensor& weight = in[2];
          return by_chunks(part_of(weight), {in[0], in[1]}, chunk, weight);
        },
        {random_tensor({7, 3}, 1), random_tensor({7, 3}, 2), random_tensor({3, 3}, 3)});
  }
}

TEST(Fold, LeavesAGradientThatAnotherBranchWaitsFor) {
  const Tensor x = random_tensor({7, 3}, 1).requires_grad_(true), other = random_tensor({7, 3}, 2).requires_grad_(true);
  const Tensor weight = random_tensor({3, 3}, 3).requires_grad_(true), dy = random_tensor({7, 3}, 4);
  for (const int64_t chunk : {2, 7}) {
    other.mutable_grad().reset();
    const Tensor before = other * 2;  // made first, so that its gradient waits while the fold goes back
    ((before + by_chunks(part_of(weight), {x * 1, x}, chunk, weight)) * dy).sum().backward();
    EXPECT_TRUE(torch::equal(other.grad(), 2 * dy)) << chunk;
  }
}

}  // namespace accordion::memory
