#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "report/event_file.h"
#include "report/progress.h"

/// What a run leaves for people and programs: metrics.jsonl, log.txt and TensorBoard's event files in its folder, and
/// the lines that a person sees. Each record lists its keys once, in `visit`; metrics.jsonl has them in that order.
namespace accordion {

/// The most bytes of live tensors in each phase of a step.
struct PhasePeaks {
  int64_t forward = 0, head = 0, backward = 0, optimizer = 0;
  void visit(auto&& v) const {
    v("forward", forward), v("head", head), v("backward", backward), v("optimizer", optimizer);
  }
};

/// One optimizer step.
struct StepRecord {
  int64_t step = 0;                 // counts from 1
  int64_t total_steps = 0;          // of the whole run; 0 where the budget does not tell
  int64_t tokens = 0;               // trained so far, this step's included
  int64_t length = 0, rows = 0;     // the step's shape
  double loss = 0;                  // mean over the step's target tokens, nats
  double lr = 0, grad_norm = 0;     // the norm is that before clipping
  double seconds = 0;               // of training so far, evaluation and checkpoints left out
  double step_seconds = 0;          // of this step
  double tokens_per_second = 0;     // of this step
  double flops = 0;                 // executed so far
  int64_t peak_bytes = 0;           // of tensors, highest so far
  int64_t rss_bytes = 0;            // of the process, highest so far
  PhasePeaks memory = {};           // of this step
  int64_t read = 0, discarded = 0;  // tokens taken from the corpus so far, and those of them never trained on
  int64_t epoch = 0;                // passes over the corpus begun, from 0
  bool skipped = false;             // loss or gradient was not finite: no update
  // For the bar and the line only; default: the steps left at the mean speed so far.
  std::optional<double> seconds_left = {};
  void visit(auto&& v) const {
    v("step", step), v("total_steps", total_steps), v("tokens", tokens), v("length", length), v("rows", rows);
    v("loss", loss), v("lr", lr), v("grad_norm", grad_norm);
    v("seconds", seconds), v("step_seconds", step_seconds), v("tokens_per_second", tokens_per_second);
    v("flops", flops), v("peak_bytes", peak_bytes), v("rss_bytes", rss_bytes), v("memory", memory);
    v("read", read), v("discarded", discarded), v("epoch", epoch), v("skipped", skipped);
  }
};

/// The validation loss at one length.
struct EvalRecord {
  int64_t step = 0, tokens = 0;  // trained so far
  int64_t length = 0;
  double loss = 0;                // mean over the evaluated tokens, nats
  int64_t eval_tokens = 0;        // how many those are
  double eval_seconds = 0;        // what this evaluation took
  double seconds = 0, flops = 0;  // of training so far
  void visit(auto&& v) const {
    v("step", step), v("tokens", tokens), v("length", length), v("loss", loss);
    v("eval_tokens", eval_tokens), v("eval_seconds", eval_seconds), v("seconds", seconds), v("flops", flops);
  }
};

/// The length changes; `step` is the first at the new one.
struct LengthRecord {
  int64_t step = 0, tokens = 0;  // tokens trained before it
  int64_t from = 0, to = 0;
  int64_t rows = 0;  // of a step at the new length
  void visit(auto&& v) const { v("step", step), v("tokens", tokens), v("from", from), v("to", to), v("rows", rows); }
};

/// Where a run goes on: after this step, -1 = at its beginning. `lengths_left`: evaluations of that very step that were
/// cut short and are to be made again.
struct ResumePoint {
  int64_t step = -1;
  std::vector<int64_t> lengths_left = {};
};

/// Writes a run's records. Every line is handed to the operating system whole and at once, so a killed run has lost
/// none and a reader never sees half of one (but for the last, after a power failure).
///
/// Lines belong to steps: a record to its own, a note to the last step before it. For a run killed at any moment to
/// resume with no line lost or doubled, log all that belongs to step N, call sync(), then publish the checkpoint of
/// step N.
class RunLog {
 public:
  /// Opens the logs of `folder`, which is created where it is missing. `resume`: what the checkpoint that training goes
  /// on from says; lines of later steps and of evaluations to come, and a torn last line, are dropped (each file is
  /// replaced in one move), and TensorBoard is told to forget later steps. Errors: UserError, unwritable or full.
  RunLog(std::filesystem::path folder, TerminalOptions options = {}, const ResumePoint& resume = {});
  ~RunLog();

  void step(const StepRecord& record);
  void evaluation(const EvalRecord& record);
  void length(const LengthRecord& record);
  void note(const std::string& text);
  void warning(const std::string& text);  ///< to standard error as well
  /// Shows what else the run is busy with (`evaluating`, `saving`) in the bar until the next step; terminals only.
  void activity(const std::string& text);
  /// A text of several lines for people, a plan's table say; log.txt and output.
  void print(const std::string& text);
  void sync();  ///< to the disk

 private:
  template <class Record>
  void metric(const char* type, const Record& record);
  void line(const std::string& text, std::FILE* stream);
  std::optional<double> seconds_left(const StepRecord& record);

  std::filesystem::path folder_;
  TerminalOptions options_;
  OutputFile metrics_, log_;
  EventFile events_;
  std::unique_ptr<Progress> bar_;
  double done_ = 0;                                 // steps, for the bar
  std::optional<std::pair<int64_t, double>> from_;  // step and seconds that this session began at
};

/// `step 120/1220 | length 256 x 64 | loss 4.213 | lr 9.8e-04 | norm 0.71 | 31.2k tok/s | 0.52 s | 2.1 GiB | eta
/// 03:10`.
std::string step_line(const StepRecord& record, std::optional<double> seconds_left);

/// What stands in `folder` that a run made: its recipe, logs, event files, checkpoints and final model, with what a
/// crash left of them half written. Nothing that somebody else put there.
std::vector<std::filesystem::path> run_files(const std::filesystem::path& folder);

/// `train --fresh`: removes those, and folders that are empty then.
void remove_run_files(const std::filesystem::path& folder);

}  // namespace accordion
