#include "op/adamw.h"

#include <torch/optim/adamw.h>

#include "op/gradients.h"

namespace accordion::op {

using test::random_tensor;
using torch::Tensor;

TEST(AdamW, EqualsTorchOptim) {
  for (const int64_t size : {1, 19, 4099}) {
    Tensor master = random_tensor({size}, 1, torch::kFloat), first = torch::zeros({size}),
           second = torch::zeros({size});
    Tensor theirs = master.clone().requires_grad_(true);
    Tensor half = master.to(torch::kBFloat16);
    torch::optim::AdamW optimizer({theirs},
                                  torch::optim::AdamWOptions(1e-2).betas({0.9, 0.95}).eps(1e-8).weight_decay(0.1));
    for (int64_t step = 1; step <= 5; ++step) {
      const Tensor gradient = random_tensor({size}, 10 + step, torch::kFloat);
      theirs.mutable_grad() = gradient * 0.25;
      optimizer.step();
      adamw_step(master, half, gradient, first, second, {1e-2, 0.9, 0.95, 1e-8, 0.1, step, 0.25});
      EXPECT_LE(test::relative_error(master, theirs), 1e-6) << "step " << step;
      EXPECT_TRUE(torch::equal(half, master.to(torch::kBFloat16))) << "rounded to nearest even, step " << step;
    }
    adamw_step(master, master, torch::zeros({size}), first, second, {1e-2, 0.9, 0.95, 1e-8, 0.1, 6, 1});
  }
}

}  // namespace accordion::op
