#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memory/disk.h"
#include "model/safetensors.h"
#include "op/torch.h"
#include "recipe/recipe.h"

namespace accordion {

/// AdamW over a model's weights, with everything in f32: the main gradients (each weight's `.grad`), both moments, and,
/// where the weights are bf16, a master copy. Weights of two or more dimensions decay. Memory: 12 bytes a weight in f32
/// (gradient and moments), 16 with a master copy.
class Optimizer {
 public:
  /// With a `file`, moments and master weights live in it, and only those of the weight at hand are in memory.
  Optimizer(NamedTensors weights, const OptimizerRecipe& recipe, std::shared_ptr<memory::DiskFile> file = {});

  /// The gradient's global norm, the square root of the sum of squares over all weights, computed in f32.
  double gradient_norm() const;

  /// One update with learning rate `lr` and gradients scaled by min(1, clip / norm), as torch's clip_grad_norm_; then
  /// the gradients are zero again.
  void step(double lr, double norm);

  void zero_gradients();

  /// The same in parts: begin_step() once, then update() of each weight when its gradient is whole. update() may leave
  /// the gradient scaled.
  void begin_step() { ++updates_; }
  void update(size_t weight, double lr, double norm);
  size_t weights() const { return slots_.size(); }
  torch::Tensor& weight(size_t index) { return slots_[index].weight; }
  const std::string& name(size_t index) const { return slots_[index].name; }

  /// Updates made so far (skipped steps do not count).
  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }

  /// Moments and, in bf16, master weights, under `master.NAME`, `first.NAME`, `second.NAME`.
  NamedTensors state() const;
  /// Takes the values of a state() over; UserError where it is that of another model.
  void restore(const NamedTensors& state);

 private:
  struct Slot {
    std::string name;
    torch::Tensor weight, master, first, second;
    std::vector<torch::Tensor> mapped;  // those of the last three that live in a file
  };
  OptimizerRecipe recipe_;
  std::vector<Slot> slots_;
  int64_t updates_ = 0;
};

}  // namespace accordion
