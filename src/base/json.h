#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace accordion {

/// The text of a JSON value, over several lines where `indent` is given. Strings come from paths, prompts and other
/// people's files: bytes of theirs that are not UTF-8 become U+FFFD, where dump() alone would throw.
template <class Json>
std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace accordion
