#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/flops.h"
#include "schedule/length.h"

namespace accordion {

/// The steps of one segment of the schedule, counted from 1.
struct Stage {
  int64_t segment = 0;
  int64_t from_step = 0, to_step = 0;
  int64_t length_first = 0, length_last = 0;
  int64_t rows_first = 0, rows_last = 0;
  int64_t tokens = 0, read = 0;
  Flops flops;
};

/// A run played through without training.
struct Simulation {
  std::vector<Stage> stages;
  Counters end;
  Flops flops;
  std::vector<std::string>
      warnings;  ///< one line each: growth that is too steep, growth where the rate has decayed, ...
};

/// Plays a resolved recipe's steps through for a model of these sizes; none where seconds or epochs alone end the run
/// or decide its lengths, since nobody knows its steps beforehand. Some 50 ns a step. Rows count as one piece: with
/// data.document_mask the FLOPs are an upper bound.
std::optional<Simulation> simulate(const Recipe& recipe, const MatmulSizes& model);

/// The run at constant max_length that trains the same number of tokens.
struct Baseline {
  int64_t length = 0, steps = 0;
  Flops flops;
};
Baseline baseline_of(const Recipe& recipe, const Simulation& simulation, const MatmulSizes& model);

}  // namespace accordion
