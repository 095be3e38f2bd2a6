#include "bench/method.h"

#include <algorithm>

#include "base/machine.h"
#include "bench/longest.h"
#include "report/memory_estimate.h"

namespace accordion {
namespace {

/// Bytes of weights, gradients and optimizer state.
double resident(const ModelConfig& model, bool bf16) {
  return estimate_memory(model, bf16, 1, kLengthGrain, {}).fixed();
}

}  // namespace

const std::vector<MemoryMethod>& memory_methods() {
  static const std::vector<MemoryMethod> all{
      {"none",
       {"memory.recompute=none", "memory.mini_sequence.mlp=off", "memory.mini_sequence.attention=off",
        "memory.mini_sequence.head=off"}},
      {"recompute",
       {"memory.recompute=layer", "memory.mini_sequence.mlp=off", "memory.mini_sequence.attention=off",
        "memory.mini_sequence.head=off"}},
      {"mini_sequence",
       {"memory.recompute=layer", "memory.mini_sequence.mlp=auto", "memory.mini_sequence.attention=off",
        "memory.mini_sequence.head=auto"}},
      {"all",
       {"memory.recompute=layer", "memory.mini_sequence.mlp=auto", "memory.mini_sequence.attention=auto",
        "memory.mini_sequence.head=auto"}},
  };
  return all;
}

double MemoryBudget::tensors(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe) const {
  if (!activations) return tensor_bytes(bytes);
  return activation_bytes(bytes) + estimate_memory(model, bf16, 1, kLengthGrain, recipe).fixed();
}

bool MemoryBudget::too_small_for(const ModelConfig& model, bool bf16) const {
  return resident(model, bf16) > (activations ? static_cast<double>(usable_memory()) : bytes);
}

int64_t planned_row(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget) {
  return longest_row(model, bf16, recipe, budget.tensors(model, bf16, recipe));
}

int64_t planned_rows(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget,
                     int64_t length) {
  return most_rows(model, bf16, recipe, budget.tensors(model, bf16, recipe), length);
}

}  // namespace accordion
