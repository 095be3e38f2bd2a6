#pragma once

#include <string>
#include <vector>

#include "recipe/reader.h"

namespace accordion {

/// The recipe of a run: read, checked as a whole, and with every default filled in that depends on other keys
/// (max_length, segments, batch.tokens, data.validation, evaluation.lengths, run). `length_schedule.baseline` is
/// carried out: the result is the constant schedule itself. Resolving twice changes nothing, so the file in a run
/// folder reads back to the same run. `path` empty = no file, only overrides. UserError as in recipe/reader.h and
/// validate().
Recipe load_recipe(const std::string& path, const std::vector<std::string>& overrides = {});

/// Same for a recipe that was read already.
Recipe resolve(WrittenRecipe written);

/// What keys mean together. UserError names the place of the key that has to change: values that contradict each other
/// or would be ignored, and what is planned and not built.
void validate(const Recipe& recipe, const Origins& origins);

/// The same run at constant max_length: same tokens (a budget of steps becomes the tokens that the schedule would have
/// trained in them), learning rate by tokens, and evaluation.
Recipe constant_baseline(Recipe recipe);

}  // namespace accordion
