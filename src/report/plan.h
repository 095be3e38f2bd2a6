#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/config.h"
#include "report/memory_plan.h"
#include "schedule/simulate.h"

namespace accordion {

/// What a run will do and cost, from its resolved recipe and its model's description alone.
struct Plan {
  Recipe recipe;
  int64_t parameters = 0;
  std::optional<Simulation> run;     ///< none where only seconds or epochs end it: its steps depend on speed
  std::optional<Baseline> baseline;  ///< with `run`
  MemoryPlan memory;
};

/// Plays the run through; milliseconds for millions of steps. `memory` is in bytes; this machine's without one.
/// UserError where rows are longer than the model's table of positions.
Plan make_plan(const Recipe& recipe, const ModelConfig& model, std::optional<int64_t> memory = {},
               const EstimateOptions& options = {});

/// UserError where training or evaluation asks for longer rows than a model with learned positions has.
void check_positions(const Recipe& recipe, const ModelConfig& model);

nlohmann::json plan_json(const Plan& plan);

/// Tables for people, a warning a line at their end.
std::string plan_text(const Plan& plan);

}  // namespace accordion
