#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/names.h"
#include "recipe/bounds.h"
#include "recipe/memory_recipe.h"

/// The recipe of a run: typed structs, each with one `visit` that lists its keys once. The reader, the command line's
/// overrides, the resolved file of a run folder, docs/recipes.md and the check of what may change on resume all come
/// from these lists. A visitor is called as v(key, member, help[, Bounds]). An optional that is not set takes its
/// default from its help; load_recipe() (recipe/reader.h) fills in those that depend on other keys.
namespace accordion {

enum class Precision { automatic, bf16, f32 };
template <>
struct Names<Precision> {
  static constexpr std::array value{"auto", "bf16", "f32"};
};

/// A key that is planned and not built yet: writing it is an error that says so.
struct NotYet {};

/// An amount of training: whichever of the units are set; the first reached counts.
struct Amount {
  std::optional<int64_t> steps = {}, tokens = {};  // `= {}`: a designated initializer may leave members out
  std::optional<double> seconds = {}, epochs = {};
  void visit(auto&& v) {
    v("steps", steps, "optimizer steps", kAtLeastOne);
    v("tokens", tokens, "trained tokens", kAtLeastOne);
    v("seconds", seconds, "seconds of training, evaluation and checkpoints left out", kNotNegative);
    v("epochs", epochs, "passes over the training corpus", kNotNegative);
  }
  bool empty() const { return !steps && !tokens && !seconds && !epochs; }
};

/// A corpus folder and its share of the mixture.
struct Source {
  std::string path;
  double weight = 1;
  void visit(auto&& v) {
    v("path", path, "folder made by `accordion prepare`");
    v("weight", weight, "share of the tokens drawn from it, relative to the other sources", kNotNegative);
  }
};

struct DataRecipe {
  std::vector<Source> train{{.path = "corpus"}};
  std::string validation;
  bool shuffle = true;
  bool document_mask = false;
  bool restart_positions = false;
  void visit(auto&& v) {
    v("train", train, "corpus folder, or a list of {path, weight}; default corpus");
    v("validation", validation, "corpus folder whose validation split is evaluated; default: the first of `train`");
    v("shuffle", shuffle, "visit documents in an order drawn from `seed`, anew each epoch; false = corpus order");
    v("document_mask", document_mask, "attend within documents only");
    v("restart_positions", restart_positions, "positions begin at 0 in every document");
  }
};

enum class BatchPolicy { constant_tokens, constant_sequences, fill_memory };
template <>
struct Names<BatchPolicy> {
  static constexpr std::array value{"constant_tokens", "constant_sequences", "fill_memory"};
};
enum class LrScale { none, linear, sqrt };
template <>
struct Names<LrScale> {
  static constexpr std::array value{"none", "linear", "sqrt"};
};

/// `auto` or a number.
struct AutoCount {
  std::optional<int64_t> count;  // none = auto
};

inline constexpr int64_t kDefaultBatchTokens = 16384;

struct BatchRecipe {
  std::optional<int64_t> tokens, sequences;
  BatchPolicy policy = BatchPolicy::constant_tokens;
  AutoCount microbatch;
  LrScale lr_scale = LrScale::none;
  void visit(auto&& v) {
    v("tokens", tokens,
      "tokens of an optimizer step (constant_tokens): rows = max(1, round(tokens / length)); default 16384",
      kAtLeastOne);
    v("sequences", sequences, "rows of an optimizer step (constant_sequences)", kAtLeastOne);
    v("policy", policy, "what stays constant as the length changes (fill_memory is not available yet)");
    v("microbatch", microbatch, "rows of one forward and backward pass; auto chooses them for each length",
      kAtLeastOne);
    v("lr_scale", lr_scale, "scale the learning rate by tokens per step relative to those at max_length");
  }
};

enum class ProgressUnit { steps, tokens, fraction, seconds };
template <>
struct Names<ProgressUnit> {
  static constexpr std::array value{"steps", "tokens", "fraction", "seconds"};
};
enum class Apply { reshape, truncate, window, bucket };
template <>
struct Names<Apply> {
  static constexpr std::array value{"reshape", "truncate", "window", "bucket"};
};
enum class Ramp { none, linear, root, exp, sin, cosine, pow2, cubic, table };
template <>
struct Names<Ramp> {
  static constexpr std::array value{"none", "linear", "root", "exp", "sin", "cosine", "pow2", "cubic", "table"};
};
enum class Evaluate { before, after };
template <>
struct Names<Evaluate> {
  static constexpr std::array value{"before", "after"};
};
enum class OnGrow { keep, pi, ntk, rebase, yarn };
template <>
struct Names<OnGrow> {
  static constexpr std::array value{"keep", "pi", "ntk", "rebase", "yarn"};
};

/// The end of a segment: a number in units of `progress`, or `end`.
struct Until {
  std::optional<double> at;  // none = end
};

/// One stretch of the schedule: a constant `length`, or a ramp.
struct Segment {
  std::optional<int64_t> length = {};
  Ramp ramp = Ramp::none;
  std::optional<int64_t> from = {}, to = {};
  Until until = {};
  std::optional<int64_t> step = {};
  std::optional<double> degree = {};
  std::optional<int64_t> cycles = {};
  std::vector<std::vector<double>> table = {};
  std::string source = {};
  void visit(auto&& v) {
    v("length", length, "constant length", kAtLeastOne);
    v("ramp", ramp, "form of a ramp from `from` to `to`");
    v("from", from, "length at the ramp's first step", kAtLeastOne);
    v("to", to, "length at the ramp's end", kAtLeastOne);
    v("until", until, "the segment holds while progress < until, in units of `progress`; `end` = to the end of the run",
      kNotNegative);
    v("step", step, "a ramp's lengths are rounded down to a multiple of this; default 1", kAtLeastOne);
    v("degree", degree, "of a root ramp: its share is x^(1/degree); default 2", Bounds{.min = 1e-6});
    v("cycles", cycles, "how many times a ramp runs within its segment; default 1", kAtLeastOne);
    v("table", table, "[[progress, length], ...] of a table ramp, linear in between", kNotNegative);
    v("source", source, "corpus folder of this segment (VSL); default: data.train");
  }
};

struct LengthScheduleRecipe {
  ProgressUnit progress = ProgressUnit::fraction;
  std::optional<int64_t> length;  // shorthand: a constant schedule
  std::optional<int64_t> max_length;
  int64_t multiple_of = 8;
  Apply apply = Apply::reshape;
  bool preserve_eos = false;
  Evaluate evaluate = Evaluate::before;
  std::vector<Segment> segments;
  bool baseline = false;
  OnGrow on_grow = OnGrow::keep;
  NotYet window, gate, probe;
  void visit(auto&& v) {
    v("progress", progress, "what the schedule is a function of");
    v("length", length, "constant length; instead of segments", kAtLeastOne);
    v("max_length", max_length,
      "the longest length; evaluation and the memory plan use it; default `length`, or the segments' longest, or 1024",
      kAtLeastOne);
    v("multiple_of", multiple_of,
      "lengths of ramps are rounded down to a multiple of this; their ends and constants stay as written", kAtLeastOne);
    v("apply", apply,
      "reshape cuts the token stream into rows of the current length; truncate reads rows of max_length and drops "
      "their tails (window and bucket are not available yet)");
    v("preserve_eos", preserve_eos, "truncate: keep end-of-text as a row's last token");
    v("evaluate", evaluate,
      "before: step n is decided by the counters before it; after: by those after it (DeepSpeed)");
    v("segments", segments,
      "constants and ramps, in order; default a quarter of max_length until 0.75, then max_length");
    v("baseline", baseline,
      "train at max_length throughout instead: same tokens, learning rate by tokens and evaluation");
    v("position", on_grow, "what happens to positions when the length grows (only keep is available yet)");
    v("window", window, "of apply: window");
    v("gate", gate, "hold a segment until evaluation has recovered");
    v("probe", probe, "run a pass at max_length before the first step");
  }
};

struct OptimizerRecipe {
  std::string name = "adamw";
  double lr = 1e-3;
  std::vector<double> betas{0.9, 0.95};
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;
  void visit(auto&& v) {
    v("name", name, "adamw");
    v("lr", lr, "peak learning rate", kNotNegative);
    v("betas", betas, "decay of the first and second moment", kShare);
    v("epsilon", epsilon, "added to the root of the second moment", kNotNegative);
    v("weight_decay", weight_decay, "decoupled decay of tensors of two or more dimensions", kNotNegative);
    v("clip", clip, "largest global norm of the gradient; 0 = off", kNotNegative);
  }
};

/// What is minimised beside the cross-entropy.
struct LossRecipe {
  double z_loss = 0;
  double label_smoothing = 0;
  void visit(auto&& v) {
    v("z_loss", z_loss, "factor of the squared log of the softmax's denominator, added to each token's loss; 0 = off",
      kNotNegative);
    v("label_smoothing", label_smoothing, "share of each target that is spread over the vocabulary; 0 = off", kShare);
  }
};

enum class LrKind { cosine, linear, constant };
template <>
struct Names<LrKind> {
  static constexpr std::array value{"cosine", "linear", "constant"};
};
enum class DecayBy { tokens, steps };
template <>
struct Names<DecayBy> {
  static constexpr std::array value{"tokens", "steps"};
};

struct Warmup {
  int64_t steps = 100;
  void visit(auto&& v) { v("steps", steps, "optimizer steps of linear warmup: lr * min(1, n / steps)", kNotNegative); }
};

struct Rewarmup {
  int64_t steps = 0;
  void visit(auto&& v) { v("steps", steps, "optimizer steps over which the rate climbs again; 0 = off", kNotNegative); }
};

inline constexpr double kDefaultFinal = 0.1;

struct LrScheduleRecipe {
  LrKind kind = LrKind::cosine;
  Warmup warmup;
  DecayBy decay_by = DecayBy::tokens;
  std::optional<double> final;
  Rewarmup rewarmup;
  void visit(auto&& v) {
    v("kind", kind, "form of the decay after warmup");
    v("warmup", warmup, "linear warmup at the start");
    v("rewarmup", rewarmup, "linear warmup after each change of length");
    v("decay_by", decay_by, "what the decay is a function of; steps only where every step has the same tokens");
    v("final", final, "learning rate at the end, as a share of the peak; default 0.1 (constant: none)", kShare);
  }
};

enum class Shard { none, optimizer, gradients, parameters };
template <>
struct Names<Shard> {
  static constexpr std::array value{"none", "optimizer", "gradients", "parameters"};
};

struct ParallelRecipe {
  int64_t data = 1, sequence = 1;
  Shard shard = Shard::none;
  void visit(auto&& v) {
    v("data", data, "processes that share the rows (only 1 is available yet)", kAtLeastOne);
    v("sequence", sequence, "processes that share each row (only 1 is available yet)", kAtLeastOne);
    v("shard", shard, "what data-parallel processes split instead of copying (only none is available yet)");
  }
};

struct EvaluationRecipe {
  Amount every{.steps = 200};
  int64_t tokens = 65536;
  std::vector<int64_t> lengths;  // empty = max_length and every constant length of the schedule
  void visit(auto&& v) {
    v("every", every, "how often to evaluate; the end of the run always does");
    v("tokens", tokens, "validation tokens of an evaluation, the same ones at every length", kAtLeastOne);
    v("lengths", lengths, "lengths to evaluate at; default: max_length and the schedule's constant lengths",
      kAtLeastOne);
  }
};

struct CheckpointRecipe {
  Amount every{.steps = 500};
  int64_t keep = 2;
  void visit(auto&& v) {
    v("every", every, "how often to save; the end of the run always does");
    v("keep", keep, "how many checkpoints stay", kAtLeastOne);
  }
};

struct Recipe {
  std::string model = "models/pythia-70m.json";
  std::string run;
  DataRecipe data;
  Amount budget{.tokens = 20'000'000};
  BatchRecipe batch;
  LengthScheduleRecipe length_schedule;
  LossRecipe loss;
  OptimizerRecipe optimizer;
  LrScheduleRecipe lr_schedule;
  Precision precision = Precision::automatic;
  MemoryRecipe memory;
  ParallelRecipe parallel;
  EvaluationRecipe evaluation;
  CheckpointRecipe checkpoint;
  int64_t seed = 1;
  void visit(auto&& v) {
    v("model", model, "config.json, Hugging Face directory, run folder, checkpoint, or a name in models/");
    v("run", run, "run folder; default runs/ and the name of the recipe's file");
    v("data", data, "corpora and how rows are cut from them");
    v("budget", budget, "when the run ends: the first of the units named that is reached");
    v("batch", batch, "what an optimizer step holds");
    v("length_schedule", length_schedule, "how the sequence length goes");
    v("loss", loss, "what training minimises and logs as its loss; evaluation is the cross-entropy alone");
    v("optimizer", optimizer, "AdamW");
    v("lr_schedule", lr_schedule, "how the learning rate goes");
    v("precision", precision,
      "bf16: bf16 weights and activations, f32 master weights, moments and gradients; auto: bf16 where the hardware "
      "has it");
    v("memory", memory, "techniques that make long sequences fit");
    v("parallel", parallel, "several processes");
    v("evaluation", evaluation, "validation loss at fixed lengths");
    v("checkpoint", checkpoint, "when to save and how many to keep");
    v("seed", seed, "of the initial weights and the order of documents", kNotNegative);
  }
};

}  // namespace accordion
