#include "recipe/origins.h"

namespace accordion {

std::string join_key(const std::string& section, const std::string& key) {
  return section.empty() || key.empty() ? section + key : section + "." + key;
}

bool Origins::overridden(const std::string& key) const {
  for (const auto& path : overridden_)
    if (key == path || key.compare(0, path.size() + 1, path + ".") == 0) return true;
  return false;
}

UserError Origins::error(const std::string& key, int line, int column, const std::string& what) const {
  // A section that an override made on its way has no line.
  if (overridden(key) || line < 1) return UserError("command line: " + key + ": " + what);
  return error_at(file_, line, column, key, what);
}

UserError Origins::error(const std::string& key, const std::string& what) const {
  for (auto section = key; !section.empty();) {
    if (const auto place = places_.find(section); place != places_.end())
      return error(key, place->second.line, place->second.column, what);
    if (overridden(section)) return UserError("command line: " + key + ": " + what);
    const auto dot = section.rfind('.');
    section = dot == std::string::npos ? "" : section.substr(0, dot);
  }
  return UserError(file_ + ": " + key + ": " + what);
}

}  // namespace accordion
