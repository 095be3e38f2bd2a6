#include "bench/method.h"

#include <algorithm>

#include "base/machine.h"
#include "bench/longest.h"
#include "report/memory_estimate.h"

namespace accordion {
namespace {

/// Bytes of weights, gradients and optimizer state.
double resident(const ModelConfig& model, bool bf16) {
  const auto memory = estimate_memory(model, bf16, kLengthGrain, MiniSequence{});
  return memory.peak() - memory.activations;
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

bool MemoryBudget::too_small_for(const ModelConfig& model, bool bf16) const {
  return resident(model, bf16) > (activations ? static_cast<double>(usable_memory()) : bytes);
}

int64_t planned_row(const ModelConfig& model, bool bf16, const MemoryRecipe& recipe, const MemoryBudget& budget) {
  // The program itself takes what this process does, which has made no tensors to speak of.
  const double beside = budget.activations ? resident(model, bf16) : -static_cast<double>(resident_bytes());
  return longest_row(model, bf16, recipe.mini_sequence.head, budget.bytes + beside);
}

}  // namespace accordion
