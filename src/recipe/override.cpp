#include "recipe/override.h"

#include <sstream>

#include "base/text.h"

namespace accordion {
namespace {

UserError command_line_error(const std::string& key, const std::string& what) {
  return UserError("command line: " + key + ": " + what);
}

/// The element of a list that `part` selects.
YAML::Node element(YAML::Node list, const std::string& part, const std::string& key) {
  const auto index = parse_count(part);
  if (!index || *index < 0 || *index >= static_cast<int64_t>(list.size()))
    throw command_line_error(key, "the list has no element '" + part + "'; its elements are numbered from 0 to " +
                                      std::to_string(static_cast<int64_t>(list.size()) - 1));
  return list[static_cast<size_t>(*index)];
}

}  // namespace

void apply_override(YAML::Node root, const std::string& text, Origins& origins) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UserError("command line: '" + text + "' is not key=value; write for example optimizer.lr=3e-4");
  const auto key = text.substr(0, equals);
  YAML::Node value;
  try {
    value.reset(YAML::Load(text.substr(equals + 1)));
  } catch (const YAML::ParserException& error) {
    throw command_line_error(key, "the value is not valid YAML: " + error.msg);
  }

  YAML::Node at;  // walked by reset(): assigning a Node would write into the tree
  at.reset(root);
  std::istringstream parts(key);
  for (std::string part; std::getline(parts, part, '.');) {
    const bool last = parts.eof();
    if (part.empty() || key.back() == '.') throw command_line_error(key, "a key has a name between its dots");
    if (at.IsSequence()) {
      auto child = element(at, part, key);
      if (last) child = value;
      at.reset(child);
    } else if (at.IsMap()) {
      if (last) {
        at[part] = value;
      } else {
        if (!at[part].IsDefined() || at[part].IsNull()) at[part] = YAML::Node(YAML::NodeType::Map);
        at.reset(at[part]);
      }
    } else {
      throw command_line_error(
          key, "'" + at.as<std::string>() + "' stands where this key needs a section; override the whole of it");
    }
  }
  origins.override_key(key);
}

}  // namespace accordion
