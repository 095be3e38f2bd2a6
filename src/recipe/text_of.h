#pragma once

#include <charconv>
#include <string>

#include "recipe/sections.h"

namespace accordion {

/// The text of one value as the reader takes it: shortest form of numbers that reads back exactly.
inline std::string text_of(const std::string& value) { return value; }
inline std::string text_of(bool value) { return value ? "true" : "false"; }
inline std::string text_of(int64_t value) { return std::to_string(value); }
inline std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
inline std::string text_of(const AutoCount& value) { return value.count ? text_of(*value.count) : "auto"; }
inline std::string text_of(const Until& value) { return value.at ? text_of(*value.at) : "end"; }
inline std::string text_of(const MiniSequence& value) {
  switch (value.kind) {
    case MiniSequence::Kind::off:
      return "off";
    case MiniSequence::Kind::automatic:
      return "auto";
    case MiniSequence::Kind::tokens:
      return text_of(value.amount);
    case MiniSequence::Kind::count:
      break;
  }
  return "{count: " + text_of(value.amount) + "}";
}
template <Named E>
std::string text_of(E value) {
  return name_of(value);
}
template <class T>
std::string text_of(const std::vector<T>& list) {
  std::string text;
  for (const auto& value : list) text += (text.empty() ? "" : ", ") + text_of(value);
  return "[" + text + "]";
}
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "";
}
inline std::string text_of(const NotYet&) { return ""; }

/// Whether a key has nothing to write: an optional that is not set, empty text or list, a segment that is no ramp.
template <class T>
bool has_no_value(const T& value) {
  if constexpr (is_optional<T>) {
    return !value;
  } else if constexpr (std::is_same_v<T, std::string> || is_vector<T>) {
    return value.empty();
  } else {
    if constexpr (std::is_same_v<T, Ramp>) return value == Ramp::none;
    return std::is_same_v<T, NotYet>;
  }
}

}  // namespace accordion
