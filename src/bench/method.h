#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "recipe/recipe.h"

namespace accordion {

/// A set of memory techniques under a name, as overrides of a recipe.
struct MemoryMethod {
  std::string name;
  std::vector<std::string> overrides;
};

/// From nothing at all to everything there is.
const std::vector<MemoryMethod>& memory_methods();

/// What a row may use, in bytes.
struct MemoryBudget {
  double bytes = 0;
  bool activations = false;  ///< beside weights, gradients, optimizer state and the program; else all in all

  /// Whether weights, gradients and optimizer state alone leave room for nothing.
  bool too_small_for(const ModelConfig& model, bool bf16) const;
};

/// The planner's answer: the longest single row that a formula lets fit, a multiple of 64.
int64_t planned_row(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget);

}  // namespace accordion
