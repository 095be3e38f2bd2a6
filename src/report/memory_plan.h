#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "report/memory_estimate.h"
#include "schedule/simulate.h"

namespace accordion {

/// The largest forward and backward pass of a stage, or of a run: `rows` rows (a microbatch) of `length` tokens.
struct PassPlan {
  int64_t rows = 0, length = 0;
  MemoryEstimate memory;
};

/// What a run will hold, and how long its rows could be.
struct MemoryPlan {
  bool bf16 = false;
  PassPlan worst;                ///< of all lengths
  std::vector<PassPlan> stages;  ///< of each stage at its longest length; empty where the stages are unknown
  double budget = 0;             ///< bytes that the process may use
  int64_t longest = 0;           ///< row that trains within them, with the recipe's own memory keys
  struct Reach {
    const char* method;
    int64_t longest;
  };
  /// The same with `none` of the techniques, not even in the head; `recompute`: layers are computed again;
  /// `mini_sequence`: and MLP and head go by mini-sequences; `all`: and layers by chunks of queries.
  std::array<Reach, 4> by_method;
  std::optional<std::string> warning;  ///< the run does not fit: the keys that would make it fit
};

/// `run` may be null; `budget` is in bytes.
MemoryPlan plan_memory(const Recipe& recipe, const ModelConfig& model, const Simulation* run, double budget,
                       const EstimateOptions& options);

nlohmann::json memory_json(const MemoryEstimate& memory);
nlohmann::json longest_by_method_json(const MemoryPlan& plan);

/// Tables for people.
std::string memory_text(const MemoryPlan& plan);

}  // namespace accordion
