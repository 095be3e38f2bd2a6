#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "data/tokenizer.h"
#include "eval/loss_by_length.h"
#include "model/transformer.h"
#include "recipe/recipe.h"
#include "report/run_log.h"
#include "schedule/learning_rate.h"
#include "schedule/length.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/step.h"
#include "train/stream.h"
#include "train/timeline.h"

namespace accordion {

/// One training run: from its recipe, or from the newest checkpoint of its run folder, to the end of its budget.
class Trainer {
 public:
  /// Opens everything and resumes where the run folder has a checkpoint. UserError for what a person can mend.
  explicit Trainer(const Recipe& recipe);

  /// Trains to the end of the budget. Returns 0; or 128 + the signal that asked to stop, after finishing the step, or
  /// the batch of an evaluation, and writing a checkpoint. UserError after kMostSkipped steps in a row that were not
  /// finite.
  int run();

 private:
  void resume();
  void check_unchanged(const nlohmann::json& state);
  void check_model() const;
  void greet();
  bool step();
  void note_length_change(const StepPlan& plan);
  void record(const Batch& batch, const StepResult& result, double lr, double seconds);
  void note_timeline(bool written) const;
  std::optional<StepPlan> following(const StepPlan& plan) const;
  double executed_flops(const Batch& batch) const;
  void evaluate();
  void evaluate_left();
  void save();
  void finish();
  void write_model(const std::filesystem::path& folder) const;
  nlohmann::json state() const;

  Recipe recipe_;
  std::vector<std::string> notes_;  // from before there was a log
  Checkpoints checkpoints_;
  std::optional<Checkpoints::Found> resumed_;
  LengthSchedule schedule_;
  LearningRate learning_rate_;
  Stream stream_;
  std::optional<Tokenizer> tokenizer_;  // the corpus's, to go with the model; none where the corpus has none
  nlohmann::json generation_;           // generation_config.json of the model that training began with
  Transformer model_;
  TrainingStep training_step_;
  LossByLength validation_;
  std::unique_ptr<RunLog> log_;
  TimelineFile timeline_;

  Counters counters_;
  double flops_ = 0;         // executed so far
  int64_t total_steps_ = 0;  // of the whole run; 0 = unknown beforehand
  double total_flops_ = 0;
  int64_t skipped_in_a_row_ = 0;
  int64_t saved_step_ = -1, evaluated_step_ = -1;
  std::vector<int64_t> lengths_left_;  // of an evaluation at the present step that a signal cut short
};

}  // namespace accordion
