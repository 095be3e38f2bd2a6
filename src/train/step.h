#pragma once

#include <cmath>
#include <optional>

#include "data/loader.h"
#include "eval/loss_by_length.h"
#include "model/transformer.h"
#include "recipe/recipe.h"
#include "train/layerwise.h"
#include "train/optimizer.h"

namespace accordion {

/// How the rows of a step go through the model.
struct StepForm {
  PassForm pass;
  AutoCount microbatch;  ///< rows of one forward and backward pass
  MiniSequence head;     ///< how the head and its loss go by mini-sequences
  LossRecipe loss;
};
StepForm step_form(const Recipe& recipe, torch::Device device);

/// The mean loss over the batch's targets, with what the form's loss adds to the cross-entropy. Gradients of all
/// microbatches add up in the weights' main gradients, under one denominator: the result does not depend on the
/// microbatch but for the order of additions.
/// With a `layerwise` update all rows go through at once. Throws Stopped between two layers where a signal asked to
/// stop a while ago; with a `layerwise` update, which changes weights on the way back, only on the way forward.
double forward_backward(const Transformer& model, const Batch& batch, const StepForm& form,
                        LayerwiseUpdate* layerwise = nullptr);

struct StepResult {
  double loss = 0, norm = 0;  ///< of the whole step; the gradient's norm before clipping
  bool finite() const { return std::isfinite(loss) && std::isfinite(norm); }
};

/// Whole optimizer steps: forward and backward, clipping, update. A step whose loss or gradient is not finite updates
/// nothing; in the backward pass, nothing of the layers whose gradient is not finite. A step that is left by Stopped is
/// as if it had not begun.
class TrainingStep {
 public:
  /// Makes the model's weights trainable.
  TrainingStep(Transformer& model, const Recipe& recipe);
  StepResult operator()(const Batch& batch, double lr);

  Optimizer& optimizer() { return optimizer_; }
  const Optimizer& optimizer() const { return optimizer_; }
  const StepForm& form() const { return form_; }

 private:
  StepResult layerwise(const Batch& batch, double lr);

  const Transformer& model_;
  MemoryRecipe memory_;
  StepForm form_;
  Optimizer optimizer_;
  std::optional<LayerwiseUpdate> layerwise_;
};

/// The type of weights and activations that a precision stands for on this machine.
torch::Dtype training_dtype(Precision precision);

}  // namespace accordion
