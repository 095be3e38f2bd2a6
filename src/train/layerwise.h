#pragma once

#include <functional>
#include <vector>

#include "model/transformer.h"
#include "train/optimizer.h"

namespace accordion {

/// Updates weights within the backward pass: the weights of each layer as soon as their gradients are whole, and then
/// frees these, so that the gradients of one layer exist at a time (Lv et al. 2023, LOMO; of the head where it is the
/// larger). A tied embedding is updated at the end, after both of its uses. Results are those of Optimizer::step() with
/// the same norm: every gradient is computed from weights that have not been updated yet.
class LayerwiseUpdate {
 public:
  /// The weights are parameters without main gradients.
  LayerwiseUpdate(const Transformer& model, Optimizer& optimizer);

  enum class Task { measure, update };
  /// Begins a pass that only measures gradients, or one that updates by them, clipped by `norm`.
  void begin(Task task, double lr, double norm);
  /// The head's gradient is whole.
  void after_head();
  /// Pass::on_backward
  void on_backward(int64_t layer);
  /// The backward pass is over; -> the gradient's norm. Where it is not finite the layers that it is of were left as
  /// they were.
  double end();
  /// Gives all gradients up.
  void abandon();

 private:
  void give_out(size_t group);
  void finish(size_t group);

  Optimizer& optimizer_;
  std::vector<std::vector<size_t>> groups_;  // weights of the embedding, of each layer, of the final norm, of the head
  int64_t layers_;
  bool tied_;
  Task task_ = Task::measure;
  bool begun_ = false;  // the optimizer's step
  double lr_ = 0, norm_ = 0, squares_ = 0;
};

}  // namespace accordion
