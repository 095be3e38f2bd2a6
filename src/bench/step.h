#pragma once

#include <array>
#include <optional>
#include <string>

#include "bench/profile.h"
#include "memory/meter.h"
#include "recipe/recipe.h"

namespace accordion {

struct StepTiming {
  int64_t parameters = 0, length = 0, rows = 0;
  std::string precision;
  double seconds_min = 0, seconds_median = 0;
  double model_flops = 0;  ///< of a step, as matmul_causal counts
  int64_t peak_bytes = 0;
  std::array<memory::Holding, memory::kPhases> phases = {};  ///< what was live at the peak of each phase
  double loss = 0;
  std::optional<bench::Profile> profile = {};  ///< of one more step, where that was asked for
};

/// Times whole optimizer steps (forward, backward, clip, update) on random tokens: one step unmeasured, then `steps`.
/// With `memory.timeline` the first of them are recorded, which takes a little of their time. `profiled`: one more step
/// follows under the profiler.
StepTiming time_steps(const Recipe& recipe, int64_t length, int64_t rows, int64_t steps, bool profiled = false);

inline constexpr int64_t kWarmUpLength = 64;

/// What one whole optimizer step held and took, after a warm-up step of one row of kWarmUpLength tokens. The step goes
/// by the recipe's microbatch.
struct StepMemory {
  int64_t activations_rss_bytes = 0;  ///< peak RSS during the step, less the RSS before it: what lies above weights,
                                      ///< gradients, optimizer state and the program
  int64_t peak_rss_bytes = 0;         ///< of the process so far
  int64_t peak_bytes = 0;             ///< of live tensors during the step
  double seconds = 0;
};
StepMemory measure_step(const Recipe& recipe, int64_t length, int64_t rows);

}  // namespace accordion
