#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/machine.h"
#include "base/stop.h"
#include "base/text.h"
#include "memory/allocator.h"
#include "memory/device.h"
#include "memory/meter.h"
#include "model/weights.h"
#include "schedule/flops.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr int64_t kMostSkipped = 10;  // steps in a row that may be non-finite
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Whether a period of `every` ended between the two counters.
bool due(const Amount& every, const Counters& before, const Counters& after) {
  auto crossed = [](auto period, auto from, auto to) {
    if (!period) return false;
    const auto length = static_cast<double>(*period);
    return std::floor(static_cast<double>(to) / length) > std::floor(static_cast<double>(from) / length);
  };
  return crossed(every.steps, before.steps, after.steps) || crossed(every.tokens, before.tokens, after.tokens) ||
         crossed(every.seconds, before.seconds, after.seconds) || crossed(every.epochs, before.epochs, after.epochs);
}

}  // namespace

int Trainer::run() {
  catch_stop_signals();
  evaluate_left();
  bool left = false;  // within a step
  while (!schedule_.finished(counters_) && stop_signal() == 0) {
    const auto before = counters_;
    left = !step();
    if (left) break;
    if (due(recipe_.evaluation.every, before, counters_)) evaluate();
    if (due(recipe_.checkpoint.every, before, counters_)) save();
  }
  note_timeline(timeline_.close());
  if (stop_signal() == 0) evaluate();
  if (stop_signal() != 0) {
    save();
    log_->note(format("stopped by a signal %s step %lld; the same command goes on from there",
                      left ? "before the end of" : "after", static_cast<long long>(counters_.steps + (left ? 1 : 0))));
    return 128 + stop_signal();
  }
  save();
  finish();
  return 0;
}

/// One optimizer step: rows from the stream, forward and backward by microbatches, clip, update. False where a signal
/// ended it on the way: then it is made by the run that goes on, from the same rows.
bool Trainer::step() {
  const auto plan = schedule_.at(counters_);
  note_length_change(plan);
  memory::reset_phases();
  timeline_.begin_step(counters_.steps + 1, plan.length, plan.rows);
  const double start = now();
  const auto before = stream_.cursors();
  const auto batch = stream_.next(plan, following(plan));
  const double lr = learning_rate_.at(counters_, plan);
  StepResult result;
  try {
    result = training_step_(batch, lr);
  } catch (const Stopped&) {
    stream_.restore(before);
    note_timeline(timeline_.end_step());
    return false;
  }
  synchronize();
  const double seconds = now() - start;

  const double epochs = static_cast<double>(batch.read) / static_cast<double>(stream_.tokens());
  counters_ = advance(counters_, plan, learning_rate_.warmup_steps(), seconds, epochs);
  flops_ += executed_flops(batch);
  skipped_in_a_row_ = result.finite() ? 0 : skipped_in_a_row_ + 1;
  record(batch, result, lr, seconds);
  note_timeline(timeline_.end_step());
  return true;
}

void Trainer::note_timeline(bool written) const {
  if (written) log_->note("memory over the first steps: " + recipe_.memory.timeline);
}

/// What the next step will be, so that its rows can be read ahead; wrong only where seconds decide.
std::optional<StepPlan> Trainer::following(const StepPlan& plan) const {
  const auto then = advance(counters_, plan, learning_rate_.warmup_steps());
  if (schedule_.finished(then)) return std::nullopt;
  return schedule_.at(then);
}

double Trainer::executed_flops(const Batch& batch) const {
  const double s =
      training_step_.form().pass.document_mask ? effective_length(batch.pieces) : static_cast<double>(batch.length);
  return static_cast<double>(batch.rows * batch.length) *
         executed_per_token(matmul_sizes(model_.config()), s, recipe_.memory);
}

void Trainer::note_length_change(const StepPlan& plan) {
  if (counters_.length == plan.length || counters_.length == 0) return;
  memory::release_kept();  // sizes of the old length would otherwise stay beside those of the new one
  log_->length({.step = counters_.steps + 1,
                .tokens = counters_.tokens,
                .from = counters_.length,
                .to = plan.length,
                .rows = plan.rows});
}

/// Logs the step that was made; ends the run where too many in a row were not finite.
void Trainer::record(const Batch& batch, const StepResult& result, double lr, double seconds) {
  const auto step = static_cast<long long>(counters_.steps);
  const bool finite = result.finite();
  const auto peak = [](memory::Phase phase) { return memory::peak_of(phase).total(); };
  std::optional<double> left;
  if (total_flops_ > 0) left = std::max(0.0, total_flops_ - flops_) * counters_.seconds / flops_;
  log_->step({.step = counters_.steps,
              .total_steps = total_steps_,
              .tokens = counters_.tokens,
              .length = batch.length,
              .rows = batch.rows,
              .loss = result.loss,
              .lr = lr,
              .grad_norm = result.norm,
              .seconds = counters_.seconds,
              .step_seconds = seconds,
              .tokens_per_second = static_cast<double>(batch.rows * batch.length) / seconds,
              .flops = flops_,
              .peak_bytes = memory::peak_bytes(),
              .rss_bytes = peak_resident_bytes(),
              .memory = {.forward = peak(memory::Phase::forward),
                         .head = peak(memory::Phase::head),
                         .backward = peak(memory::Phase::backward),
                         .optimizer = peak(memory::Phase::optimizer)},
              .read = counters_.read,
              .discarded = counters_.read - counters_.tokens,
              .epoch = batch.epoch,
              .skipped = !finite,
              .seconds_left = left});
  if (batch.new_epoch)
    log_->note(format("epoch %lld of the training corpus began", static_cast<long long>(batch.epoch + 1)));
  if (finite) return;
  log_->warning(format("step %lld: the %s is not finite; the step is skipped", step,
                       std::isfinite(result.loss) ? "gradient" : "loss"));
  if (skipped_in_a_row_ < kMostSkipped) return;
  throw UserError(
      format("the loss or gradient was not finite in %lld steps in a row, the last of them step %lld; the last good "
             "checkpoint is kept: lower optimizer.lr, or lengthen lr_schedule.warmup, and start anew with --fresh",
             static_cast<long long>(skipped_in_a_row_), step));
}

void Trainer::evaluate() {
  if (evaluated_step_ == counters_.steps) return;
  lengths_left_ = validation_.lengths();
  evaluate_left();
}

/// Evaluates at what is left of the lengths; a signal leaves the rest to the run that goes on.
void Trainer::evaluate_left() {
  if (lengths_left_.empty()) return;
  while (!lengths_left_.empty()) {
    const auto length = lengths_left_.front();
    log_->activity(format("evaluating at %lld", static_cast<long long>(length)));
    const double start = now();
    const auto result = validation_.evaluate(model_, length);
    if (!result) return;
    log_->evaluation({.step = counters_.steps,
                      .tokens = counters_.tokens,
                      .length = length,
                      .loss = result->loss,
                      .eval_tokens = result->tokens,
                      .eval_seconds = now() - start,
                      .seconds = counters_.seconds,
                      .flops = flops_});
    lengths_left_.erase(lengths_left_.begin());
  }
  evaluated_step_ = counters_.steps;
  saved_step_ = -1;  // a checkpoint of this step that is there does not know of it
}

void Trainer::save() {
  if (saved_step_ == counters_.steps) return;
  log_->activity("saving");
  log_->sync();  // what the log says up to this step must be on the disk before the checkpoint is
  checkpoints_.save(counters_.steps, state(), [&](const fs::path& folder) {
    write_model(folder);
    write_safetensors(folder / "trainer" / "optimizer.safetensors", training_step_.optimizer().state());
  });
  saved_step_ = counters_.steps;
}

void Trainer::finish() {
  const auto folder = fs::path(recipe_.run) / "final";
  write_folder(folder, [&](const fs::path& partial) { write_model(partial); });
  log_->note(format("done: %lld steps, %s tokens, %s of training; the model is in %s",
                    static_cast<long long>(counters_.steps), format_thousands(counters_.tokens).c_str(),
                    format_duration(counters_.seconds).c_str(), folder.c_str()));
}

}  // namespace accordion
