#pragma once

#include <algorithm>
#include <bitset>
#include <cstddef>

namespace accordion {

// What the matches of a pattern may hold, as far as it matters for cutting a text between a letter and a space.

/// ASCII letters and the space among the characters that something may take; the others do not matter for a cut.
using Ascii = std::bitset<128>;

inline Ascii range(char32_t low, char32_t high) {
  Ascii set;
  for (char32_t c = low; c <= high && c < set.size(); ++c) set.set(c);
  return set;
}
inline const Ascii& upper() {
  static const Ascii set = range('A', 'Z');
  return set;
}
inline const Ascii& lower() {
  static const Ascii set = range('a', 'z');
  return set;
}

/// What may stand at an end of a match.
struct Ends {
  bool letter = false, space = false;
};
inline Ends ends_of(const Ascii& set) { return {(set & (upper() | lower())).any(), set.test(' ')}; }
inline Ends either(Ends a, Ends b) { return {a.letter || b.letter, a.space || b.space}; }

/// What a part of a pattern may match.
struct Part {
  bool empty = true;         // nothing
  Ends first, last;          // at its ends
  size_t width = 0;          // characters at most; 2 = many
  bool safe = true;          // see Pcre2Pattern::safe_to_cut
  bool looks_ahead = false;  // asks for the character behind it and takes none
  bool can_be_repeated = true;
};

inline Part one_of(const Ascii& set) { return {false, ends_of(set), ends_of(set), 1}; }

/// `a`, and `b` behind it.
inline Part then(const Part& a, const Part& b) {
  Part both{a.empty && b.empty, a.empty ? either(a.first, b.first) : a.first, b.empty ? either(a.last, b.last) : b.last,
            std::min(size_t{2}, a.width + b.width), a.safe && b.safe};
  if (a.last.letter && b.first.space) both.safe = false;
  // Behind a letter, what is ahead may be the space that the text is cut at.
  if (b.looks_ahead && (a.empty || a.last.letter)) both.safe = false;
  return both;
}

/// Either of them.
inline Part otherwise(const Part& a, const Part& b) {
  return {a.empty || b.empty, either(a.first, b.first), either(a.last, b.last), std::max(a.width, b.width),
          a.safe && b.safe};
}

}  // namespace accordion
