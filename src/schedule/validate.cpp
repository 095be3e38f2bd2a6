#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "schedule/length.h"
#include "schedule/resolve.h"

namespace accordion {
namespace {

const char* const kNotYet = "is not available yet";

std::string number(double value) { return format("%.10g", value); }

void check_data(const DataRecipe& data, const Origins& origins) {
  if (data.train.empty())
    throw origins.error("data.train", "names no corpus; write a folder made by `accordion prepare`");
  for (size_t i = 0; i < data.train.size(); ++i) {
    const auto key = "data.train." + std::to_string(i);
    if (data.train[i].path.empty())
      throw origins.error(key + ".path", "names no corpus; write a folder made by `accordion prepare`");
    if (!(data.train[i].weight > 0))
      throw origins.error(key + ".weight", "is 0, so that nothing would be drawn from this corpus; leave it out");
  }
}

void check_amount(const Amount& amount, const std::string& key, const Origins& origins) {
  if (amount.seconds && !(*amount.seconds > 0)) throw origins.error(key + ".seconds", "must be above 0");
  if (amount.epochs && !(*amount.epochs > 0)) throw origins.error(key + ".epochs", "must be above 0");
}

void check_batch(const Recipe& recipe, const Origins& origins) {
  const auto& batch = recipe.batch;
  const auto longest = recipe.length_schedule.max_length.value();
  switch (batch.policy) {
    case BatchPolicy::fill_memory:
      throw origins.error("batch.policy",
                          std::string("fill_memory ") + kNotYet + "; use constant_tokens or constant_sequences");
    case BatchPolicy::constant_sequences:
      if (!batch.sequences)
        throw origins.error("batch.policy", "constant_sequences needs batch.sequences, the rows of a step");
      if (batch.tokens)
        throw origins.error("batch.tokens",
                            "would be ignored with policy constant_sequences; leave it out or use constant_tokens");
      break;
    case BatchPolicy::constant_tokens:
      if (batch.sequences)
        throw origins.error(
            "batch.sequences",
            "would be ignored with policy constant_tokens; add policy: constant_sequences or leave it out");
      if (*batch.tokens < longest)
        throw origins.error("batch.tokens",
                            format("%lld is less than one row of max_length; raise it to %lld or more",
                                   static_cast<long long>(*batch.tokens), static_cast<long long>(longest)));
      if (batch.lr_scale != LrScale::none)
        throw origins.error(
            "batch.lr_scale",
            "would be ignored with policy constant_tokens, where tokens per step stay the same; leave it out");
      break;
  }
}

void check_optimizer(const OptimizerRecipe& optimizer, const Origins& origins) {
  if (optimizer.name != "adamw")
    throw origins.error("optimizer.name", "unknown optimizer '" + optimizer.name + "'; the one there is: adamw");
  if (optimizer.betas.size() != 2 || optimizer.betas[0] >= 1 || optimizer.betas[1] >= 1)
    throw origins.error("optimizer.betas", "must be two numbers below 1, such as [0.9, 0.95]");
}

void check_learning_rate(const Recipe& recipe, const LengthSchedule& schedule, const Origins& origins) {
  const auto& rate = recipe.lr_schedule;
  if (rate.kind == LrKind::constant && rate.final)
    throw origins.error("lr_schedule.final",
                        "would be ignored with kind constant; leave it out or use cosine or linear");
  if (rate.kind != LrKind::constant && rate.decay_by == DecayBy::steps) {
    if (schedule.tokens_vary())
      throw origins.error("lr_schedule.decay_by",
                          "must be tokens where tokens per step vary with the length (policy constant_sequences)");
    if ((!recipe.budget.steps && !recipe.budget.tokens) || recipe.length_schedule.progress == ProgressUnit::seconds)
      throw origins.error(
          "lr_schedule.decay_by",
          "steps needs a run whose steps are known beforehand (a budget of steps or tokens); use tokens");
  }
  if (rate.rewarmup.steps > 0) {
    if (schedule.has_ramp())
      throw origins.error("lr_schedule.rewarmup.steps",
                          "with a ramp the rate would never climb back; use constant segments or leave it out");
    if (schedule.lengths().size() < 2)
      throw origins.error("lr_schedule.rewarmup.steps", "would be ignored, as the length never changes; leave it out");
  }
}

void check_not_yet(const ParallelRecipe& parallel, const Origins& origins) {
  const auto refuse = [&](const std::string& key, const std::string& off) {
    return origins.error(key, std::string(kNotYet) + "; leave it out or write " + off);
  };
  if (parallel.data != 1) throw refuse("parallel.data", "1");
  if (parallel.sequence != 1) throw refuse("parallel.sequence", "1");
  if (parallel.shard != Shard::none) throw refuse("parallel.shard", "none");
}

void check_offload(const MemoryRecipe& memory, const Origins& origins) {
  const auto& offload = memory.offload;
  const bool disk = offload.to == Offload::disk;
  if (disk && offload.path.empty())
    throw origins.error("memory.offload.to", "disk needs memory.offload.path, a folder for the file");
  if (!disk && !offload.path.empty())
    throw origins.error("memory.offload.path", "would be ignored without memory.offload.to: disk; leave it out");
  if (!disk && offload.optimizer)
    throw origins.error("memory.offload.optimizer",
                        "needs memory.offload: {to: disk, path: FOLDER}; add that or leave it out");
  if (offload.to != Offload::none && memory.recompute != Recompute::layer && !offload.optimizer)
    throw origins.error("memory.offload.to",
                        "would be ignored without memory.recompute: layer, which keeps layer inputs; add that");
}

void check_in_backward(const Recipe& recipe, const Origins& origins) {
  const auto in_backward = recipe.memory.optimizer_in_backward;
  if (in_backward == InBackward::off) return;
  const char* const key = "memory.optimizer_in_backward";
  if (in_backward == InBackward::on && recipe.optimizer.clip > 0)
    throw origins.error(key,
                        "clipping needs the norm of the whole gradient before the first update; write two_pass, or "
                        "optimizer.clip: 0");
  if (in_backward == InBackward::two_pass && recipe.optimizer.clip == 0)
    throw origins.error(key, "two_pass finds the norm for clipping, which optimizer.clip: 0 turns off; write true");
  if (recipe.memory.mini_sequence.head.kind == MiniSequence::Kind::off)
    throw origins.error("memory.mini_sequence.head",
                        "off leaves the head's gradient to autograd, which does not say when it is whole; use auto");
  if (!recipe.batch.microbatch.count) return;
  for (const auto& [length, rows] : LengthSchedule(recipe).shapes()) {
    if (*recipe.batch.microbatch.count < rows)
      throw origins.error("batch.microbatch",
                          format("%lld adds up gradients over the step's %lld rows at length %lld, but with "
                                 "memory.optimizer_in_backward no gradient outlives its layer; leave it out",
                                 static_cast<long long>(*recipe.batch.microbatch.count), static_cast<long long>(rows),
                                 static_cast<long long>(length)));
  }
}

/// Settings of memory that would be ignored.
void check_memory(const Recipe& recipe, const Origins& origins) {
  const auto& memory = recipe.memory;
  const bool layer = memory.recompute == Recompute::layer;
  const auto needs_layer = [&](bool given, const std::string& key) {
    if (given && !layer)
      throw origins.error(key, "would be ignored without memory.recompute: layer; add that or leave it out");
  };
  needs_layer(memory.recompute_every != 1, "memory.recompute_every");
  needs_layer(memory.keep_attention, "memory.keep_attention");
  needs_layer(memory.mini_sequence.attention.kind != MiniSequence::Kind::off, "memory.mini_sequence.attention");
  if (memory.recompute == Recompute::mlp && memory.mini_sequence.mlp.kind != MiniSequence::Kind::off)
    throw origins.error("memory.recompute",
                        "mlp would be ignored beside memory.mini_sequence.mlp, which recomputes the MLP by chunks; "
                        "leave one of the two out");
  check_offload(memory, origins);
  check_in_backward(recipe, origins);
}

void check_evaluation(const Recipe& recipe, const LengthSchedule& schedule, const Origins& origins) {
  auto lengths = recipe.evaluation.lengths;
  if (lengths.empty()) lengths = schedule.constant_lengths();
  const auto longest = *std::max_element(lengths.begin(), lengths.end());
  if (recipe.evaluation.tokens < longest)
    throw origins.error("evaluation.tokens",
                        format("%lld is less than one row of the longest evaluation length; raise it to %lld or more",
                               static_cast<long long>(recipe.evaluation.tokens), static_cast<long long>(longest)));
}

/// Segments of one schedule, in their order.
class SegmentCheck {
 public:
  SegmentCheck(const Recipe& recipe, const Origins& origins)
      : schedule_(recipe.length_schedule), origins_(origins), unit_(name_of(schedule_.progress)) {
    switch (schedule_.progress) {
      case ProgressUnit::fraction:
        end_ = 1;
        break;
      case ProgressUnit::steps:
        if (recipe.budget.steps) end_ = static_cast<double>(*recipe.budget.steps);
        break;
      case ProgressUnit::tokens:
        if (recipe.budget.tokens) end_ = static_cast<double>(*recipe.budget.tokens);
        break;
      case ProgressUnit::seconds:
        end_ = recipe.budget.seconds;
        break;
    }
  }

  void run() {
    for (index_ = 0; index_ < schedule_.segments.size(); ++index_) {
      const auto& segment = schedule_.segments[index_];
      if (segment.length)
        check_constant(segment);
      else if (segment.ramp == Ramp::table)
        check_table(segment);
      else
        check_ramp(segment);
      check_until(segment);
    }
  }

 private:
  UserError wrong(const std::string& key, const std::string& what) const {
    return origins_.error(join_key("length_schedule.segments." + std::to_string(index_), key), what);
  }
  void refuse_if(bool given, const char* key, const char* why) const {
    if (given) throw wrong(key, std::string("would be ignored ") + why + "; leave it out");
  }
  void check_length(const char* key, int64_t length) const {
    if (length > *schedule_.max_length)
      throw wrong(key, format("%lld is longer than max_length; raise length_schedule.max_length or shorten it",
                              static_cast<long long>(length)));
  }

  void check_constant(const Segment& segment) const {
    const auto* why = "beside `length`, which makes a constant segment";
    refuse_if(segment.ramp != Ramp::none, "ramp", why);
    refuse_if(segment.from.has_value(), "from", why);
    refuse_if(segment.to.has_value(), "to", why);
    refuse_if(segment.step.has_value(), "step", why);
    refuse_if(segment.degree.has_value(), "degree", why);
    refuse_if(segment.cycles.has_value(), "cycles", why);
    refuse_if(!segment.table.empty(), "table", why);
    check_length("length", *segment.length);
  }

  void check_ramp(const Segment& segment) const {
    if (segment.ramp == Ramp::none)
      throw wrong("", segment.from || segment.to ? "`from` and `to` make a ramp; name its form, such as ramp: linear"
                                                 : "needs `length`, or `ramp` with `from` and `to`");
    if (!segment.from) throw wrong("from", "is missing; a ramp goes from one length to another");
    if (!segment.to) throw wrong("to", "is missing; a ramp goes from one length to another");
    refuse_if(segment.degree && segment.ramp != Ramp::root, "degree", "by ramps other than root");
    refuse_if(segment.step && segment.ramp == Ramp::pow2, "step", "by pow2, whose lengths double");
    refuse_if(!segment.table.empty(), "table", "by ramps other than table");
    check_length("from", *segment.from);
    check_length("to", *segment.to);
    if (!segment.until.at && !end_)
      throw wrong("until", "a ramp needs its end in " + unit_ +
                               ", which the budget does not name; write a number, or name " + unit_ + " in the budget");
  }

  void check_table(const Segment& segment) const {
    const auto* why = "by a table";
    refuse_if(segment.from.has_value(), "from", why);
    refuse_if(segment.to.has_value(), "to", why);
    refuse_if(segment.degree.has_value(), "degree", why);
    refuse_if(segment.cycles.has_value(), "cycles", why);
    if (segment.table.size() < 2) throw wrong("table", "needs two points or more, [[progress, length], ...]");
    for (size_t i = 0; i < segment.table.size(); ++i) {
      const auto& point = segment.table[i];
      const auto key = "table." + std::to_string(i);
      if (point.size() != 2) throw wrong(key, "must be a pair [progress, length]");
      if (point[1] < 1 || point[1] != std::floor(point[1]))
        throw wrong(key, "its length must be a whole number, at least 1");
      if (i > 0 && point[0] <= segment.table[i - 1][0])
        throw wrong(key, "its progress must be beyond that of the point before");
      if (point[0] < previous_)
        throw wrong(key, "its progress lies before the segment's beginning at " + number(previous_));
      check_length(key.c_str(), static_cast<int64_t>(point[1]));
    }
  }

  void check_until(const Segment& segment) {
    const bool last = index_ + 1 == schedule_.segments.size();
    if (!segment.until.at) {
      if (!last)
        throw wrong("until", "only the last segment runs until the end; say in " + unit_ + " where this one ends");
      return;
    }
    const double until = *segment.until.at;
    if (until < previous_)
      throw wrong("until", number(until) + " lies before the end of the segment before (" + number(previous_) +
                               "); put segments in order");
    if (schedule_.progress == ProgressUnit::fraction && until > 1)
      throw wrong("until", "must be within 0..1 with progress: fraction, not " + number(until));
    if (last && (!end_ || until < *end_))
      throw wrong("until", "the last segment must reach the end of the run; write until: end");
    previous_ = until;
  }

  const LengthScheduleRecipe& schedule_;
  const Origins& origins_;
  std::string unit_;
  std::optional<double> end_;  // of the run, in the unit of progress
  double previous_ = 0;        // end of the segment before
  size_t index_ = 0;
};

void check_schedule(const Recipe& recipe, const Origins& origins) {
  const auto& schedule = recipe.length_schedule;
  if (schedule.length && !schedule.segments.empty())
    throw origins.error("length_schedule.length",
                        "makes a constant schedule beside which segments would be ignored; keep one of the two");
  if (schedule.apply == Apply::window || schedule.apply == Apply::bucket)
    throw origins.error("length_schedule.apply", name_of(schedule.apply) + " " + kNotYet + "; use reshape or truncate");
  if (schedule.on_grow != OnGrow::keep)
    throw origins.error("length_schedule.position", name_of(schedule.on_grow) + " " + kNotYet + "; use keep");
  if (schedule.preserve_eos && schedule.apply != Apply::truncate)
    throw origins.error("length_schedule.preserve_eos",
                        "would be ignored without apply: truncate; leave it out or add that");
  if (schedule.length && *schedule.length > *schedule.max_length)
    throw origins.error("length_schedule.length", "is longer than max_length; raise max_length or leave it out");
  if (schedule.evaluate == Evaluate::after) {
    const auto& budget = recipe.budget;
    const bool by_steps =
        schedule.progress == ProgressUnit::steps || (schedule.progress == ProgressUnit::fraction && budget.steps &&
                                                     !budget.tokens && !budget.seconds && !budget.epochs);
    if (!by_steps)
      throw origins.error("length_schedule.evaluate",
                          "after needs progress: steps; tokens and seconds after a step are not known before it");
  }
  SegmentCheck(recipe, origins).run();
}

}  // namespace

void validate(const Recipe& recipe, const Origins& origins) {
  if (recipe.model.empty()) throw origins.error("model", "names no model; write for example models/pythia-70m.json");
  check_data(recipe.data, origins);
  if (recipe.budget.empty()) throw origins.error("budget", "must name at least one of steps, tokens, seconds, epochs");
  check_amount(recipe.budget, "budget", origins);
  check_amount(recipe.evaluation.every, "evaluation.every", origins);
  check_amount(recipe.checkpoint.every, "checkpoint.every", origins);
  check_schedule(recipe, origins);
  check_batch(recipe, origins);
  check_optimizer(recipe.optimizer, origins);
  check_memory(recipe, origins);
  check_not_yet(recipe.parallel, origins);
  const LengthSchedule schedule(recipe);
  check_learning_rate(recipe, schedule, origins);
  check_evaluation(recipe, schedule, origins);
}

}  // namespace accordion
