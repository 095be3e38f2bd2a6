#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/config.h"
#include "report/memory_estimate.h"
#include "schedule/simulate.h"

namespace accordion {

/// What a run will do and cost, from its resolved recipe and its model's description alone.
struct Plan {
  Recipe recipe;
  int64_t parameters = 0;
  std::optional<Simulation> run;     ///< none where only seconds or epochs end it: its steps depend on speed
  std::optional<Baseline> baseline;  ///< with `run`
  bool bf16 = false;
  int64_t pass_tokens = 0;  ///< tokens of the largest forward and backward pass
  MemoryEstimate memory;    ///< during that pass
  double budget = 0;        ///< bytes of memory that `longest` may use
  int64_t longest = 0;      ///< row that trains within them
};

/// Plays the run through; milliseconds for millions of steps. `memory` is in bytes; this machine's without one.
/// UserError where rows are longer than the model's table of positions.
Plan make_plan(const Recipe& recipe, const ModelConfig& model, std::optional<int64_t> memory = {});

/// UserError where training or evaluation asks for longer rows than a model with learned positions has.
void check_positions(const Recipe& recipe, const ModelConfig& model);

nlohmann::json plan_json(const Plan& plan);

/// Tables for people, a warning a line at their end.
std::string plan_text(const Plan& plan);

}  // namespace accordion
