#include "bench/step.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/machine.h"
#include "base/text.h"
#include "memory/allocator.h"
#include "memory/device.h"
#include "model/weights.h"
#include "schedule/flops.h"
#include "train/step.h"
#include "train/timeline.h"

namespace accordion {
namespace {

/// Rows of uniformly random ids, by the recipe's seed.
Batch random_batch(int64_t rows, int64_t length, int64_t vocabulary, int64_t seed) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  const auto ids = torch::randint(vocabulary, {rows, length + 1}, generator, torch::kLong);
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  for (int64_t row = 0; row < rows; ++row) {
    const auto* at = ids[row].data_ptr<int64_t>();
    batch.inputs.insert(batch.inputs.end(), at, at + length);
    batch.targets.insert(batch.targets.end(), at + 1, at + length + 1);
    batch.pieces.push_back({length});
  }
  return batch;
}

/// A model with random or its own weights, all that its training keeps, and how a step of it goes.
struct Training {
  Transformer model;
  TrainingStep training_step;
  double lr;

  Training(Transformer opened, const Recipe& recipe)
      : model(std::move(opened)), training_step(model, recipe), lr(recipe.optimizer.lr) {}

  struct Result {
    double loss = 0, seconds = 0;
  };
  Result step(const Batch& batch) {
    synchronize();
    const auto start = std::chrono::steady_clock::now();
    const double loss = training_step(batch, lr).loss;
    synchronize();
    return {loss, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  }
};

Transformer open_for(const Recipe& recipe, int64_t length) {
  auto model = open_model(find_model(recipe.model), training_dtype(recipe.precision), device(), recipe.seed);
  const auto& config = model.config();
  if (config.position == PositionKind::learned && length > config.max_positions)
    throw UserError(format("--length: %lld is more than the model's %lld positions", static_cast<long long>(length),
                           static_cast<long long>(config.max_positions)));
  return model;
}

}  // namespace

StepTiming time_steps(const Recipe& recipe, int64_t length, int64_t rows, int64_t steps, bool profiled) {
  TimelineFile timeline(recipe.memory.timeline, recipe.model);
  Training training(open_for(recipe, length), recipe);
  const auto& config = training.model.config();
  const auto batch = random_batch(rows, length, config.vocabulary, recipe.seed);

  StepTiming timing{.parameters = config.parameters(),
                    .length = length,
                    .rows = rows,
                    .precision = training.model.dtype() == torch::kBFloat16 ? "bf16" : "f32"};
  timing.model_flops = static_cast<double>(rows * length) *
                       flops_per_token(matmul_sizes(config), kMatmulCausal, static_cast<double>(length));
  memory::reset_phases();
  std::vector<double> seconds;
  for (int64_t step = 0; step <= steps; ++step) {
    timeline.begin_step(step + 1, length, rows);
    const auto result = training.step(batch);
    timing.loss = result.loss;
    if (step > 0) seconds.push_back(result.seconds);
    timeline.end_step();
  }
  timeline.close();
  std::sort(seconds.begin(), seconds.end());
  timing.seconds_min = seconds.front();
  timing.seconds_median = seconds[seconds.size() / 2];
  timing.peak_bytes = memory::peak_bytes();
  for (size_t phase = 0; phase < memory::kPhases; ++phase)
    timing.phases[phase] = memory::peak_of(static_cast<memory::Phase>(phase));
  if (profiled) timing.profile = bench::profile([&] { training.step(batch); }, device().is_cuda());
  return timing;
}

StepMemory measure_step(const Recipe& recipe, int64_t length, int64_t rows) {
  Training training(open_for(recipe, length), recipe);
  const auto vocabulary = training.model.config().vocabulary;
  const auto batch = random_batch(rows, length, vocabulary, recipe.seed);
  training.step(random_batch(1, std::min(length, kWarmUpLength), vocabulary, recipe.seed));
  memory::release_kept();

  StepMemory measured;
  const int64_t earlier = peak_resident_bytes(), before = resident_bytes();
  memory::reset_peak();
  const ResidentPeak peak;
  measured.seconds = training.step(batch).seconds;
  const int64_t during = peak.bytes();
  measured.activations_rss_bytes = std::max<int64_t>(0, during - before);
  measured.peak_rss_bytes = std::max(earlier, during);
  measured.peak_bytes = memory::peak_bytes();
  return measured;
}

}  // namespace accordion
