#include "command/overrides.h"

#include <algorithm>

#include "base/error.h"
#include "recipe/reader.h"

namespace accordion {

Recipe recipe_of_overrides(const std::vector<std::string>& overrides, const std::vector<std::string>& allowed,
                           Precision precision) {
  std::vector<std::string> all{"precision=" + name_of(precision)};
  all.insert(all.end(), overrides.begin(), overrides.end());
  auto recipe = read_recipe("", all).recipe;  // refuses what is no key at all
  for (const auto& text : overrides) {
    const auto key = text.substr(0, text.find('='));
    const bool known = std::any_of(allowed.begin(), allowed.end(),
                                   [&](const std::string& name) { return key == name || key.starts_with(name + "."); });
    if (known) continue;
    std::string list;
    for (const auto& name : allowed) list += (list.empty() ? "" : ", ") + name;
    throw UserError("command line: " + key + ": this command would ignore it; it takes " + list);
  }
  return recipe;
}

}  // namespace accordion
