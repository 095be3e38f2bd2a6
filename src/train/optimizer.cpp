#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "memory/meter.h"
#include "op/adamw.h"
#include "op/gradient.h"

namespace accordion {

Optimizer::Optimizer(NamedTensors weights, const OptimizerRecipe& recipe, std::shared_ptr<memory::DiskFile> file)
    : recipe_(recipe) {
  torch::NoGradGuard no_grad;
  const memory::KindScope kind(memory::Kind::optimizer);
  for (auto& [name, weight] : weights) {
    const bool narrow = weight.scalar_type() != torch::kFloat;
    Slot slot{name, weight, weight, {}, {}, {}};
    const auto make = [&] {  // all zeros
      if (!file) return torch::zeros(weight.sizes(), torch::dtype(torch::kFloat).device(weight.device()));
      slot.mapped.push_back(file->map(file->reserve(weight.numel() * 4), weight.sizes(), torch::kFloat));
      return slot.mapped.back();
    };
    slot.first = make();
    slot.second = make();
    if (narrow) slot.master = make().copy_(weight);
    for (const auto& tensor : slot.mapped) memory::page_out(tensor);
    slots_.push_back(std::move(slot));
  }
}

double Optimizer::gradient_norm() const {
  std::vector<torch::Tensor> gradients;
  for (const auto& slot : slots_) gradients.push_back(slot.weight.grad());
  return op::global_norm(gradients);
}

void Optimizer::step(double lr, double norm) {
  torch::NoGradGuard no_grad;
  begin_step();
  for (size_t i = 0; i < slots_.size(); ++i) update(i, lr, norm);
  zero_gradients();
}

void Optimizer::update(size_t weight, double lr, double norm) {
  torch::NoGradGuard no_grad;
  auto& slot = slots_[weight];
  if (weight + 1 < slots_.size()) {
    for (const auto& tensor : slots_[weight + 1].mapped) memory::page_in(tensor);
  }
  const double scale = recipe_.clip > 0 ? std::min(1.0, recipe_.clip / (norm + 1e-6)) : 1.0;
  const double decay = slot.weight.dim() >= 2 ? recipe_.weight_decay : 0.0;
  // What lives in a file comes to the weight's device for the update; otherwise these are the tensors themselves.
  const auto device = slot.weight.device();
  torch::Tensor master = slot.master.to(device), first = slot.first.to(device), second = slot.second.to(device);
  op::adamw_step(master, slot.weight, slot.weight.grad(), first, second,
                 {.lr = lr,
                  .beta1 = recipe_.betas[0],
                  .beta2 = recipe_.betas[1],
                  .epsilon = recipe_.epsilon,
                  .weight_decay = decay,
                  .step = updates_,
                  .gradient_scale = scale});
  for (const auto& [mine, updated] : {std::pair(slot.master, master), {slot.first, first}, {slot.second, second}}) {
    if (!mine.is_same(updated)) mine.copy_(updated);
  }
  for (const auto& tensor : slot.mapped) memory::page_out(tensor);
}

void Optimizer::zero_gradients() {
  for (auto& slot : slots_) slot.weight.mutable_grad().zero_();
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (const auto& slot : slots_) {
    if (!slot.master.is_same(slot.weight)) state.emplace_back("master." + slot.name, slot.master);
    state.emplace_back("first." + slot.name, slot.first);
    state.emplace_back("second." + slot.name, slot.second);
  }
  return state;
}

void Optimizer::restore(const NamedTensors& state) {
  torch::NoGradGuard no_grad;
  auto mine = this->state();
  if (state.size() != mine.size())
    throw UserError("optimizer.safetensors: it is the state of another model or precision");
  for (size_t i = 0; i < mine.size(); ++i) {
    if (state[i].first != mine[i].first || state[i].second.sizes() != mine[i].second.sizes())
      throw UserError("optimizer.safetensors: " + state[i].first + " is not of this model or precision");
    mine[i].second.copy_(state[i].second);
  }
  for (const auto& slot : slots_) {
    for (const auto& tensor : slot.mapped) memory::page_out(tensor);
  }
}

}  // namespace accordion
