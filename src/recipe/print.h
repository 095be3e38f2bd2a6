#pragma once

#include <string>
#include <utility>
#include <vector>

#include "recipe/recipe.h"

namespace accordion {

/// The recipe as YAML that reads back to the same values, every key that has a value written out.
std::string print_recipe(const Recipe& recipe);

/// Every key that has a value, `a.b.0.c` and its text, in the order of the lists.
std::vector<std::pair<std::string, std::string>> list_keys(const Recipe& recipe);

/// The keys whose values differ, with both of them (empty = not set).
struct KeyChange {
  std::string key, before, after;
};
std::vector<KeyChange> changed_keys(const Recipe& before, const Recipe& after);

/// docs/recipes.md: every key with its values, default and meaning.
std::string recipe_reference();

}  // namespace accordion
