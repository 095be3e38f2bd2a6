#pragma once

#include <string>
#include <vector>

#include "recipe/recipe.h"

namespace accordion {

/// A recipe of defaults and `key=value` overrides, for commands that take no recipe file. UserError for a key that the
/// command would ignore: only `allowed` keys, and those below them, mean something to it. `precision` is that of a
/// command line that says none.
Recipe recipe_of_overrides(const std::vector<std::string>& overrides, const std::vector<std::string>& allowed,
                           Precision precision);

}  // namespace accordion
