#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace accordion {

/// The names of an enum's values, in the order of their declaration. Specialised once beside each enum that a person
/// may write or read; everything that parses, prints or documents the enum goes through it.
template <class E>
struct Names;

template <class E>
concept Named = std::is_enum_v<E> && requires {
  Names<E>::value;
};

template <Named E>
std::string name_of(E e) {
  return std::string(Names<E>::value[static_cast<size_t>(e)]);
}

template <Named E>
std::vector<std::string> all_names() {
  return {Names<E>::value.begin(), Names<E>::value.end()};
}

/// Sets `out` and returns true where `word` names a value of E.
template <Named E>
bool parse_name(std::string_view word, E& out) {
  for (size_t i = 0; i < Names<E>::value.size(); ++i) {
    if (word == Names<E>::value[i]) {
      out = static_cast<E>(i);
      return true;
    }
  }
  return false;
}

}  // namespace accordion
