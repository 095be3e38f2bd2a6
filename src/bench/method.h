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

/// What a pass may use, in bytes.
struct MemoryBudget {
  double bytes = 0;
  bool activations = false;  ///< beside weights, gradients, optimizer state and the program; else all in all

  /// Bytes of tensors that it leaves room for, with what training keeps.
  double tensors(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe) const;
  /// Whether weights, gradients and optimizer state alone leave room for nothing.
  bool too_small_for(const ModelConfig& model, bool bf16) const;
};

/// The planner's answers: the longest single row, a multiple of 64, and the most rows of `length` tokens at once.
int64_t planned_row(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget);
int64_t planned_rows(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget,
                     int64_t length);

}  // namespace accordion
