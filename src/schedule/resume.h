#pragma once

#include "recipe/recipe.h"
#include "schedule/length.h"

namespace accordion {

/// Whether a run that was begun with `saved` and stands at `counters` may go on with `now` (both resolved): budget,
/// evaluation, checkpoint, memory and parallel may change, and the length schedule beyond the present point. UserError
/// names the first other change. Returns a line `key: before -> after` for each change that is allowed, to be printed.
std::vector<std::string> check_resume(const Recipe& saved, const Recipe& now, const Counters& counters);

}  // namespace accordion
