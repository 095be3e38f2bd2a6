#include "train/layerwise.h"

#include <cmath>
#include <utility>

#include "memory/meter.h"
#include "op/gradient.h"

namespace accordion {
namespace {

/// embedding 0, layer l 1 + l, final norm 1 + L, head 2 + L.
size_t group_of(const std::string& name, int64_t layers) {
  const std::string prefix = "layers.";
  if (name.starts_with(prefix)) return 1 + std::stoul(name.substr(prefix.size()));
  if (name.starts_with("final_norm")) return static_cast<size_t>(1 + layers);
  return name.starts_with("head") ? static_cast<size_t>(2 + layers) : 0;
}

}  // namespace

LayerwiseUpdate::LayerwiseUpdate(const Transformer& model, Optimizer& optimizer)
    : optimizer_(optimizer),
      groups_(static_cast<size_t>(model.config().layers) + 3),
      layers_(model.config().layers),
      tied_(model.config().tied_head) {
  for (size_t i = 0; i < optimizer.weights(); ++i) groups_[group_of(optimizer.name(i), layers_)].push_back(i);
}

void LayerwiseUpdate::begin(Task task, double lr, double norm) {
  task_ = task;
  lr_ = lr;
  norm_ = norm;
  squares_ = 0;
  begun_ = false;
  give_out(static_cast<size_t>(layers_) + 2);
  give_out(static_cast<size_t>(layers_) + 1);
  if (tied_) give_out(0);
}

void LayerwiseUpdate::after_head() { finish(static_cast<size_t>(layers_) + 2); }

void LayerwiseUpdate::on_backward(int64_t layer) {
  finish(static_cast<size_t>(layer) + 1);
  if (layer > 0 || !tied_) give_out(static_cast<size_t>(layer));
}

double LayerwiseUpdate::end() {
  finish(0);
  return std::sqrt(squares_);
}

void LayerwiseUpdate::abandon() {
  for (size_t i = 0; i < optimizer_.weights(); ++i) op::drop_gradient(optimizer_.weight(i));
}

void LayerwiseUpdate::give_out(size_t group) {
  const memory::KindScope kind(memory::Kind::gradients);
  for (const size_t i : groups_[group]) op::make_gradient(optimizer_.weight(i));
}

/// The gradients of this group are whole.
void LayerwiseUpdate::finish(size_t group) {
  const memory::PhaseScope phase(memory::Phase::optimizer);
  std::vector<torch::Tensor> gradients;
  for (const size_t i : groups_[group]) gradients.push_back(optimizer_.weight(i).grad());
  const double squares = op::sum_of_squares(gradients);
  squares_ += squares;
  const bool update = task_ == Task::update && std::isfinite(squares);
  if (update && !std::exchange(begun_, true)) optimizer_.begin_step();
  for (const size_t i : groups_[group]) {
    if (update) optimizer_.update(i, lr_, norm_);
    op::drop_gradient(optimizer_.weight(i));
  }
}

}  // namespace accordion
