#pragma once

#include "data/loader.h"
#include "eval/loss_by_length.h"
#include "model/transformer.h"
#include "recipe/recipe.h"

namespace accordion {

/// How the rows of a step go through the model.
struct StepForm {
  PassForm pass;
  AutoCount microbatch;  ///< rows of one forward and backward pass
  MiniSequence head;     ///< how the head and its loss go by mini-sequences
  LossRecipe loss;
};
StepForm step_form(const Recipe& recipe);

/// The mean loss over the batch's targets, with what the form's loss adds to the cross-entropy. Gradients of all
/// microbatches add up in the weights' main gradients, under one denominator: the result does not depend on the
/// microbatch but for the order of additions.
double forward_backward(const Transformer& model, const Batch& batch, const StepForm& form);

/// The type of weights and activations that a precision stands for on this machine.
torch::Dtype training_dtype(Precision precision);

}  // namespace accordion
