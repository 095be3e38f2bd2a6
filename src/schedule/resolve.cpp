#include "schedule/resolve.h"

#include <algorithm>
#include <filesystem>

#include "base/paths.h"
#include "schedule/length.h"

namespace accordion {
namespace {

constexpr int64_t kDefaultMaxLength = 1024;

/// The longest length that the schedule writes down.
int64_t longest_written(const LengthScheduleRecipe& schedule) {
  int64_t longest = schedule.length.value_or(1);
  for (const auto& segment : schedule.segments) {
    for (const auto& length : {segment.length, segment.from, segment.to})
      longest = std::max(longest, length.value_or(1));
    for (const auto& point : segment.table)
      if (point.size() == 2) longest = std::max(longest, static_cast<int64_t>(point[1]));
  }
  return longest;
}

/// What validate() needs to be there.
void fill_schedule(LengthScheduleRecipe& schedule, const Origins& origins) {
  if (!schedule.length && schedule.segments.empty()) {
    if (schedule.progress != ProgressUnit::fraction)
      throw origins.error("length_schedule", "needs `length` or `segments`: default segments go by progress: fraction");
    const auto longest = schedule.max_length.value_or(kDefaultMaxLength);
    schedule.segments = {{.length = std::max<int64_t>(1, longest / 4), .until = {0.75}},
                         {.length = longest, .until = {1.0}}};
  }
  if (!schedule.max_length) schedule.max_length = longest_written(schedule);
}

void fill_defaults(Recipe& recipe, const Origins& origins) {
  if (recipe.data.validation.empty()) recipe.data.validation = recipe.data.train.front().path;
  if (recipe.lr_schedule.kind != LrKind::constant && !recipe.lr_schedule.final)
    recipe.lr_schedule.final = kDefaultFinal;
  if (recipe.evaluation.lengths.empty()) recipe.evaluation.lengths = LengthSchedule(recipe).constant_lengths();
  if (recipe.run.empty()) {
    if (stands(origins.file()) && !is_file(origins.file()))
      throw origins.error("run", "must name the run folder where the recipe is no regular file and so has no name");
    const auto name = std::filesystem::path(origins.file()).stem().string();
    recipe.run = "runs/" + name + (recipe.length_schedule.baseline ? "-baseline" : "");
  }
}

}  // namespace

Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  return resolve(read_recipe(path, overrides));
}

Recipe resolve(WrittenRecipe written) {
  auto& recipe = written.recipe;
  fill_schedule(recipe.length_schedule, written.origins);
  if (recipe.batch.policy == BatchPolicy::constant_tokens && !recipe.batch.tokens)
    recipe.batch.tokens = kDefaultBatchTokens;
  validate(recipe, written.origins);
  fill_defaults(recipe, written.origins);
  return recipe.length_schedule.baseline ? constant_baseline(recipe) : recipe;
}

Recipe constant_baseline(Recipe recipe) {
  const LengthSchedule schedule(recipe);
  if (recipe.evaluation.lengths.empty()) recipe.evaluation.lengths = schedule.constant_lengths();
  if (recipe.budget.steps && schedule.tokens_vary()) {
    if (const auto end = schedule.end()) {
      recipe.budget.tokens = std::min(end->tokens, recipe.budget.tokens.value_or(end->tokens));
      recipe.budget.steps.reset();
    }
  }
  auto& lengths = recipe.length_schedule;
  lengths.baseline = false;
  lengths.length = schedule.max_length();
  lengths.segments.clear();
  lengths.evaluate = Evaluate::before;
  recipe.lr_schedule.rewarmup.steps = 0;
  return recipe;
}

}  // namespace accordion
