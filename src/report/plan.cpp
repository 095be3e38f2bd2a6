#include "report/plan.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/machine.h"
#include "base/text.h"
#include "report/table.h"

namespace accordion {
namespace {

struct NamedAccounting {
  const char* name;
  double Flops::*value;
};
constexpr std::array kAccountings{
    NamedAccounting{"matmul_full", &Flops::matmul_full}, NamedAccounting{"matmul_causal", &Flops::matmul_causal},
    NamedAccounting{"causal_flash", &Flops::causal_flash}, NamedAccounting{"executed", &Flops::executed}};

nlohmann::json flops_json(const Flops& flops) {
  nlohmann::json json;
  for (const auto& [name, value] : kAccountings) json[name] = flops.*value;
  return json;
}

double saving(const Plan& plan, double Flops::*accounting) {
  return 1 - plan.run->flops.*accounting / (plan.baseline->flops.*accounting);
}

/// `first` or `first-last`.
std::string span(int64_t first, int64_t last) {
  return first == last ? format_thousands(first) : format_thousands(first) + "-" + format_thousands(last);
}

std::string budget_text(const Amount& budget) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : " or ") + part; };
  if (budget.tokens) add(format_thousands(*budget.tokens) + " tokens");
  if (budget.steps) add(format_thousands(*budget.steps) + " steps");
  if (budget.seconds) add(format_duration(*budget.seconds));
  if (budget.epochs) add(format("%g epochs", *budget.epochs));
  return text;
}

std::vector<std::string> plan_warnings(const Plan& plan) {
  auto warnings = plan.run ? plan.run->warnings : std::vector<std::string>();
  if (plan.memory.warning) warnings.push_back(*plan.memory.warning);
  return warnings;
}

std::string stages_text(const Simulation& run) {
  Table table({"stage", "steps", "length", "rows", "tokens", "FLOPs", "of all"});
  for (const auto& stage : run.stages)
    table.row({std::to_string(stage.segment + 1), span(stage.from_step, stage.to_step),
               span(stage.length_first, stage.length_last), span(stage.rows_first, stage.rows_last),
               format_count(static_cast<double>(stage.tokens)), format("%.3g", stage.flops.executed),
               format("%.1f %%", 100 * stage.flops.executed / run.flops.executed)});
  return table.text();
}

std::string costs_text(const Plan& plan) {
  const auto& run = *plan.run;
  Table table({"", "this run", "constant " + std::to_string(plan.baseline->length), "saved"});
  table.row({"steps", format_thousands(run.end.steps), format_thousands(plan.baseline->steps)});
  table.row({"tokens", format_thousands(run.end.tokens), format_thousands(run.end.tokens)});
  for (const auto& [name, value] : kAccountings)
    table.row({std::string("FLOPs ") + name, format("%.4g", run.flops.*value),
               format("%.4g", plan.baseline->flops.*value), format("%.2f %%", 100 * saving(plan, value))});
  return table.text();
}

}  // namespace

void check_positions(const Recipe& recipe, const ModelConfig& model) {
  if (model.position != PositionKind::learned) return;
  int64_t longest = LengthSchedule(recipe).max_length();
  for (const auto length : recipe.evaluation.lengths) longest = std::max(longest, length);
  if (model.max_positions < longest)
    throw UserError(
        format("model %s: its table has %lld positions, but rows of %lld are asked for; raise the positions in its "
               "config.json, or lower length_schedule.max_length and evaluation.lengths",
               recipe.model.c_str(), static_cast<long long>(model.max_positions), static_cast<long long>(longest)));
}

Plan make_plan(const Recipe& recipe, const ModelConfig& model, std::optional<int64_t> memory,
               const EstimateOptions& options) {
  check_positions(recipe, model);
  Plan plan{.recipe = recipe,
            .parameters = model.parameters(),
            .run = simulate(recipe, matmul_sizes(model)),
            .baseline = {},
            .memory = {}};
  if (plan.run) plan.baseline = baseline_of(recipe, *plan.run, matmul_sizes(model));
  plan.memory = plan_memory(recipe, model, plan.run ? &*plan.run : nullptr,
                            static_cast<double>(memory.value_or(usable_memory())), options);
  return plan;
}

nlohmann::json plan_json(const Plan& plan) {
  const auto& memory = plan.memory;
  nlohmann::json json{{"parameters", plan.parameters},
                      {"stages", nlohmann::json::array()},
                      {"memory", memory_json(memory.worst.memory)},
                      {"longest", memory.longest},
                      {"longest_by_method", longest_by_method_json(memory)},
                      {"warnings", plan_warnings(plan)}};
  json["memory"]["precision"] = memory.bf16 ? "bf16" : "f32";
  json["memory"]["pass_tokens"] = memory.worst.rows * memory.worst.length;
  for (const auto* unknown : {"steps", "tokens", "flops", "baseline", "saving"}) json[unknown] = nullptr;
  if (!plan.run) return json;
  for (size_t i = 0; i < plan.run->stages.size(); ++i) {
    const auto& stage = plan.run->stages[i];
    json["stages"].push_back({{"from_step", stage.from_step},
                              {"to_step", stage.to_step},
                              {"length_first", stage.length_first},
                              {"length_last", stage.length_last},
                              {"rows", stage.rows_first},
                              {"rows_last", stage.rows_last},
                              {"tokens", stage.tokens},
                              {"read", stage.read},
                              {"flops", flops_json(stage.flops)},
                              {"memory", memory_json(memory.stages[i].memory)}});
  }
  const auto& end = plan.run->end;
  json["steps"] = end.steps;
  json["tokens"] = {{"trained", end.tokens}, {"read", end.read}, {"discarded", end.read - end.tokens}};
  json["flops"] = flops_json(plan.run->flops);
  json["baseline"] = {
      {"length", plan.baseline->length}, {"steps", plan.baseline->steps}, {"flops", flops_json(plan.baseline->flops)}};
  json["saving"] = nlohmann::json::object();
  for (const auto& [name, value] : kAccountings) json["saving"][name] = saving(plan, value);
  return json;
}

std::string plan_text(const Plan& plan) {
  std::string text = format("model %s: %s parameters\nbudget: %s\n\n", plan.recipe.model.c_str(),
                            format_thousands(plan.parameters).c_str(), budget_text(plan.recipe.budget).c_str());
  if (plan.run) {
    const auto& end = plan.run->end;
    text += stages_text(*plan.run) + "\n" + costs_text(plan) + "\n";
    if (end.read > end.tokens)
      text += format("truncation reads %s tokens and discards %.1f %% of them\n",
                     format_count(static_cast<double>(end.read)).c_str(),
                     100 * static_cast<double>(end.read - end.tokens) / static_cast<double>(end.read));
    if (const auto budget = plan.recipe.budget.tokens; budget && end.tokens > *budget)
      text += format("the last step keeps whole rows and trains %s tokens beyond the budget\n",
                     format_thousands(end.tokens - *budget).c_str());
    if (plan.recipe.budget.seconds || plan.recipe.budget.epochs)
      text += "budgets of seconds and epochs may end the run earlier\n";
    if (plan.recipe.data.document_mask)
      text += "with document_mask attention costs less than counted here, by the corpus's document lengths\n";
  } else {
    text +=
        "steps, tokens and FLOPs are unknown: seconds or epochs decide them, so they depend on the machine's speed or "
        "the corpus\n";
  }
  text += memory_text(plan.memory);
  for (const auto& warning : plan_warnings(plan)) text += "warning: " + warning + "\n";
  return text;
}

}  // namespace accordion
