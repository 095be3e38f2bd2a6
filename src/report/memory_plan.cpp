#include "report/memory_plan.h"

#include <algorithm>

#include "base/text.h"
#include "report/table.h"
#include "schedule/length.h"

namespace accordion {
namespace {

constexpr MiniSequence kOff{}, kAuto{MiniSequence::Kind::automatic, 0};

bool is_off(const MiniSequence& form) { return form.kind == MiniSequence::Kind::off; }

/// The pass of a step of `rows` rows.
PassPlan plan_pass(const Recipe& recipe, const ModelConfig& model, bool bf16, int64_t length, int64_t rows,
                   const EstimateOptions& options) {
  const auto at_once =
      std::min(rows, recipe.batch.microbatch.count.value_or(microbatch_rows(length, rows, kPassTokens)));
  return {at_once, length, estimate_memory(model, bf16, at_once, length, recipe.memory, options)};
}

/// A change of a recipe that lowers the peak: what a person would write, and the recipe so changed.
struct Remedy {
  std::string keys;
  Recipe recipe;
};

/// From what costs least to what saves most.
std::vector<Remedy> remedies(const Recipe& recipe, bool several_rows) {
  std::vector<Remedy> all;
  Remedy so_far{"", recipe};
  const auto add = [](Remedy& remedy, const char* key) {
    remedy.keys += (remedy.keys.empty() ? "" : " ") + std::string(key);
  };
  if (several_rows) {
    so_far.recipe.batch.microbatch.count = 1;
    add(so_far, "batch.microbatch=1");
    all.push_back(so_far);
  }
  auto& memory = so_far.recipe.memory;
  if (is_off(memory.mini_sequence.head)) {
    memory.mini_sequence.head = kAuto;
    add(so_far, "memory.mini_sequence.head=auto");
    all.push_back(so_far);
  }
  if (is_off(memory.mini_sequence.mlp) && memory.recompute != Recompute::mlp) {
    auto alone = so_far;
    alone.recipe.memory.mini_sequence.mlp = kAuto;
    add(alone, "memory.mini_sequence.mlp=auto");
    all.push_back(alone);
  }
  if (memory.recompute != Recompute::layer) {
    memory.recompute = Recompute::layer;
    add(so_far, "memory.recompute=layer");
    all.push_back(so_far);
  }
  if (memory.recompute_every != 1) {
    memory.recompute_every = 1;
    add(so_far, "memory.recompute_every=1");
    all.push_back(so_far);
  }
  if (is_off(memory.mini_sequence.mlp)) {
    memory.mini_sequence.mlp = kAuto;
    add(so_far, "memory.mini_sequence.mlp=auto");
    all.push_back(so_far);
  }
  if (is_off(memory.mini_sequence.attention)) {
    memory.mini_sequence.attention = kAuto;
    add(so_far, "memory.mini_sequence.attention=auto");
    all.push_back(so_far);
  }
  return all;
}

std::optional<std::string> warning(const Recipe& recipe, const ModelConfig& model, const MemoryPlan& plan,
                                   const EstimateOptions& options) {
  const auto& worst = plan.worst;
  const double needed = process_bytes(worst.memory.resident());
  if (needed <= plan.budget) return {};
  const auto problem = format("the run needs about %s of memory and has %s; ", format_bytes(needed).c_str(),
                              format_bytes(plan.budget).c_str());
  for (const auto& remedy : remedies(recipe, worst.rows > 1)) {
    const auto pass = plan_pass(remedy.recipe, model, plan.bf16, worst.length, worst.rows, options);
    if (process_bytes(pass.memory.resident()) <= plan.budget)
      return problem + format("with %s it needs %s", remedy.keys.c_str(),
                              format_bytes(process_bytes(pass.memory.resident())).c_str());
  }
  if (process_bytes(worst.memory.fixed()) > plan.budget)
    return problem + format("weights, gradients and optimizer state alone take %s: choose a smaller model",
                            format_bytes(worst.memory.fixed()).c_str());
  return problem + "no memory key makes it fit: lower length_schedule.max_length";
}

std::array<MemoryPlan::Reach, 4> reach(const ModelConfig& model, bool bf16, const MemoryRecipe& memory, double bytes,
                                       const EstimateOptions& options) {
  const auto longest = [&](Recompute recompute, const MiniSequenceRecipe& parts) {
    auto method = memory;  // what is no part of the methods stays
    method.recompute = recompute;
    method.recompute_every = 1;
    method.keep_attention = false;
    method.mini_sequence = parts;
    return longest_row(model, bf16, method, bytes, options);
  };
  return {{{"none", longest(Recompute::none, {.mlp = kOff, .attention = kOff, .head = kOff})},
           {"recompute", longest(Recompute::layer, {.mlp = kOff, .attention = kOff, .head = kOff})},
           {"mini_sequence", longest(Recompute::layer, {.mlp = kAuto, .attention = kOff, .head = kAuto})},
           {"all", longest(Recompute::layer, {.mlp = kAuto, .attention = kAuto, .head = kAuto})}}};
}

}  // namespace

MemoryPlan plan_memory(const Recipe& recipe, const ModelConfig& model, const Simulation* run, double budget,
                       const EstimateOptions& options) {
  MemoryPlan plan{.worst = {}, .stages = {}, .budget = budget, .by_method = {}, .warning = {}};
  plan.bf16 = recipe.precision == Precision::bf16 || (recipe.precision == Precision::automatic && options.native_bf16);
  const LengthSchedule schedule(recipe);
  for (const auto& [length, rows] : schedule.shapes()) {
    const auto pass = plan_pass(recipe, model, plan.bf16, length, rows, options);
    if (pass.memory.resident() >= plan.worst.memory.resident()) plan.worst = pass;
  }
  if (run != nullptr)
    for (const auto& stage : run->stages) {
      const auto length = std::max(stage.length_first, stage.length_last);
      plan.stages.push_back(plan_pass(recipe, model, plan.bf16, length, schedule.rows_at(length), options));
    }
  const double bytes = tensor_bytes(budget);
  plan.longest = longest_row(model, plan.bf16, recipe.memory, bytes, options);
  plan.by_method = reach(model, plan.bf16, recipe.memory, bytes, options);
  plan.warning = warning(recipe, model, plan, options);
  return plan;
}

nlohmann::json memory_json(const MemoryEstimate& memory) {
  const auto bytes = [](double value) { return static_cast<int64_t>(value); };
  return {{"weights", bytes(memory.weights)},
          {"gradients", bytes(memory.gradients)},
          {"optimizer", bytes(memory.optimizer)},
          {"activations", bytes(memory.activations)},
          {"kept", bytes(memory.kept)},
          {"workspace", bytes(memory.workspace)},
          {"phases",
           {{"forward", bytes(memory.forward)}, {"head", bytes(memory.head)}, {"backward", bytes(memory.backward)}}},
          {"worst_phase", name_of(memory.worst)},
          {"peak", bytes(memory.peak())},
          {"process", bytes(process_bytes(memory.resident()))}};
}

nlohmann::json longest_by_method_json(const MemoryPlan& plan) {
  nlohmann::json json;
  for (const auto& [method, longest] : plan.by_method) json[method] = longest;
  return json;
}

std::string memory_text(const MemoryPlan& plan) {
  std::string text = format("memory of tensors in a pass (%s, estimated)\n", plan.bf16 ? "bf16" : "f32");
  Table table({"stage", "length", "rows", "weights", "gradients", "optimizer", "forward", "head", "backward", "peak",
               "peak is in"});
  const auto row = [&](const std::string& name, const PassPlan& pass) {
    const auto& memory = pass.memory;
    table.row({name, format_thousands(pass.length), format_thousands(pass.rows), format_bytes(memory.weights),
               format_bytes(memory.gradients), format_bytes(memory.optimizer), format_bytes(memory.forward),
               format_bytes(memory.head), format_bytes(memory.backward), format_bytes(memory.peak()),
               name_of(memory.worst)});
  };
  for (size_t i = 0; i < plan.stages.size(); ++i) row(std::to_string(i + 1), plan.stages[i]);
  if (plan.stages.size() != 1) row("all", plan.worst);
  text += table.text() + format("the process takes about %s in all\n\n",
                                format_bytes(process_bytes(plan.worst.memory.resident())).c_str());
  text += plan.longest > 0 ? format("longest row that trains within %s: about %s tokens\n",
                                    format_bytes(plan.budget).c_str(), format_thousands(plan.longest).c_str())
                           : format("no row trains within %s\n", format_bytes(plan.budget).c_str());
  Table methods({"method", "longest row"});
  for (const auto& [method, longest] : plan.by_method)
    methods.row({method, longest > 0 ? format_thousands(longest) : "-"});
  return text + methods.text();
}

}  // namespace accordion
