#pragma once

#include <string>
#include <vector>

#include "recipe/origins.h"
#include "recipe/recipe.h"

namespace accordion {

/// A recipe as written, every value of the right type and within its bounds. What keys mean together is not looked at:
/// load_recipe() (schedule/resolve.h) does that and is what a run wants.
struct WrittenRecipe {
  Recipe recipe;
  Origins origins;
};

/// Reads YAML. `name` stands for the file in messages; `overrides` are `a.b.0.c=value`, values in YAML too, applied in
/// order. UserError with file, line and column (or `command line`) for: text that is no YAML, keys that are unknown
/// (with the nearest known one) or written twice, values of a wrong type or out of bounds, keys that are planned and
/// not built.
WrittenRecipe parse_recipe(const std::string& text, const std::string& name,
                           const std::vector<std::string>& overrides = {});

/// Same from a file; an empty path reads an empty recipe, so that commands without one take overrides too.
WrittenRecipe read_recipe(const std::string& path, const std::vector<std::string>& overrides = {});

}  // namespace accordion
