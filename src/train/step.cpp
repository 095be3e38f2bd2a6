#include "train/step.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/stop.h"
#include "memory/device.h"
#include "memory/meter.h"
#include "op/head_loss.h"
#include "schedule/chunk.h"
#include "schedule/length.h"

namespace accordion {
namespace {

/// The rows' residual stream (B,T,D).
torch::Tensor forward(const Transformer& model, const Rows& rows) {
  const memory::PhaseScope phase(memory::Phase::forward);
  return model.residual(rows.ids, rows.pass);
}

/// The loss of the residual stream x (B,T,D), with the gradients of all weights.
double backward(const Transformer& model, torch::Tensor x, const torch::Tensor& targets, const op::HeadForm& form,
                LayerwiseUpdate* layerwise) {
  std::optional<memory::PhaseScope> phase(memory::Phase::head);
  if (form.chunk == 0) {
    const auto loss = op::head_loss(model.final_norm(x).flatten(0, 1), model.head_weight(), targets, form);
    x.reset();
    phase.emplace(memory::Phase::backward);
    loss.backward();
    return loss.item<double>();
  }
  op::HandOver end(x);
  auto gradient = x.detach();  // the same storage
  x.reset();
  const double loss = [&] {
    const memory::KindScope kind(memory::Kind::workspace);
    auto rows = gradient.flatten(0, 1);  // (N,D)
    return op::head_step(rows, model.head_weight(), targets, form, [&](const auto& h) { return model.final_norm(h); });
  }();
  phase.emplace(memory::Phase::backward);
  if (layerwise != nullptr) {
    if (!std::isfinite(loss)) return loss;
    layerwise->after_head();
  }
  end.backward(std::move(gradient));
  return loss;
}

}  // namespace

StepForm step_form(const Recipe& recipe, torch::Device device) {
  return {{recipe.data.document_mask, recipe.data.restart_positions, recipe.memory,
           memory::LayerStore::open(recipe.memory.offload, device)},
          recipe.batch.microbatch,
          recipe.memory.mini_sequence.head,
          recipe.loss};
}

double forward_backward(const Transformer& model, const Batch& batch, const StepForm& form,
                        LayerwiseUpdate* layerwise) {
  const int64_t at_once = layerwise != nullptr
                              ? batch.rows
                              : form.microbatch.count.value_or(microbatch_rows(batch.length, batch.rows, kPassTokens));
  double loss = 0;
  for (int64_t first = 0; first < batch.rows; first += at_once) {
    auto rows = take_rows(batch, first, std::min(at_once, batch.rows - first), form.pass, model);
    rows.pass.before_layer = [] { leave_if_stopped(); };
    rows.pass.on_backward = [layerwise](int64_t layer) {
      layerwise != nullptr ? layerwise->on_backward(layer) : leave_if_stopped();
    };
    auto x = forward(model, rows);  // (B,T,D)
    const op::HeadForm head{.chunk = head_chunk(form.head, model.config().vocabulary, rows.ids.numel()),
                            .denominator = static_cast<double>(batch.rows * batch.length),
                            .soft_cap = model.config().final_soft_cap,
                            .z_loss = form.loss.z_loss,
                            .label_smoothing = form.loss.label_smoothing};
    loss += backward(model, std::move(x), rows.targets.flatten(), head, layerwise);
  }
  return loss;
}

TrainingStep::TrainingStep(Transformer& model, const Recipe& recipe)
    : model_(model),
      memory_(recipe.memory),
      form_(step_form(recipe, model.device())),
      optimizer_(model.weights(), recipe.optimizer,
                 recipe.memory.offload.optimizer ? memory::DiskFile::open(recipe.memory.offload.path) : nullptr) {
  const bool in_backward = memory_.optimizer_in_backward != InBackward::off;
  model.make_trainable(/*main_gradients=*/!in_backward);
  if (in_backward) layerwise_.emplace(model, optimizer_);
}

StepResult TrainingStep::operator()(const Batch& batch, double lr) {
  if (layerwise_) return layerwise(batch, lr);
  StepResult result;
  try {
    result.loss = forward_backward(model_, batch, form_);
  } catch (const Stopped&) {
    optimizer_.zero_gradients();
    throw;
  }
  const memory::PhaseScope phase(memory::Phase::optimizer);
  const memory::KindScope kind(memory::Kind::workspace);
  result.norm = optimizer_.gradient_norm();
  if (result.finite()) {
    optimizer_.step(lr, result.norm);
  } else {
    optimizer_.zero_gradients();
  }
  return result;
}

StepResult TrainingStep::layerwise(const Batch& batch, double lr) {
  using Task = LayerwiseUpdate::Task;
  StepResult result;
  const auto pass = [&](Task task) {
    layerwise_->begin(task, lr, result.norm);
    try {
      result.loss = forward_backward(model_, batch, form_, &*layerwise_);
    } catch (const Stopped&) {  // from the forward pass: nothing is updated yet
      layerwise_->abandon();
      throw;
    }
    if (std::isfinite(result.loss)) {
      result.norm = layerwise_->end();
    } else {
      layerwise_->abandon();
    }
  };
  if (memory_.optimizer_in_backward == InBackward::two_pass) {
    pass(Task::measure);
    if (!result.finite()) return result;
  }
  pass(Task::update);
  return result;
}

torch::Dtype training_dtype(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return torch::kBFloat16;
    case Precision::f32:
      return torch::kFloat;
    case Precision::automatic:
      break;
  }
  return device_native_bf16() ? torch::kBFloat16 : torch::kFloat;
}

}  // namespace accordion
