#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace accordion {

/// A JSON text as Python's json module reads it: NaN, Infinity and -Infinity may stand for a number (they become null),
/// numbers may exceed a double's range (their size is lost), the last of equal keys counts. Damaged UTF-8 and lone
/// surrogates become U+FFFD and are added to `damaged`. Discarded (see nlohmann::json::is_discarded) where it is no
/// JSON.
nlohmann::json parse_json(std::string text, int64_t& damaged);

/// The text of a JSON object: the string under `field`. UserError names `where` (file:line).
std::string text_of_line(std::string line, const std::string& field, const std::string& where, int64_t& damaged);

/// Finds the end of a JSON object in a text that comes piece by piece.
class ObjectEnd {
 public:
  /// Goes on over `text`, whose first part it has seen; npos, or the place behind the brace that closes the first one.
  size_t find(std::string_view text);

 private:
  size_t at_ = 0;
  int64_t depth_ = 0;
  bool in_string_ = false;
};

}  // namespace accordion
