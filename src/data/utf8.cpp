#include "data/utf8.h"

#include <cstring>

#include "base/text.h"

namespace accordion {
namespace {

/// The first place at or after `at` that is not ASCII, eight bytes at a time.
size_t skip_ascii(std::string_view text, size_t at) {
  for (uint64_t word = 0; at + 8 <= text.size(); at += 8) {
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

int64_t repair_utf8(std::string& text) {
  int64_t damaged = 0;
  std::string repaired;
  size_t copied = 0;  // up to here `text` is in `repaired`, once damage was found
  for (size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    const int length = measure_utf8(text, at);
    if (length < 0) {
      repaired.append(text, copied, at - copied).append("\xEF\xBF\xBD");
      copied = at + static_cast<size_t>(-length);
      ++damaged;
    }
    at += static_cast<size_t>(length < 0 ? -length : length);
  }
  if (damaged > 0) text = repaired.append(text, copied);
  return damaged;
}

char32_t next_character(std::string_view text, size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t character = lead & (0x3Fu >> more);
  for (int i = 0; i < more && at < text.size(); ++i)
    character = character << 6 | (static_cast<unsigned char>(text[at++]) & 0x3Fu);
  return character;
}

void append_character(std::string& text, char32_t character) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (character < 0x80) return put(character);
  if (character < 0x800) {
    put(0xC0 | character >> 6);
  } else if (character < 0x10000) {
    put(0xE0 | character >> 12);
    put(0x80 | (character >> 6 & 0x3F));
  } else {
    put(0xF0 | character >> 18);
    put(0x80 | (character >> 12 & 0x3F));
    put(0x80 | (character >> 6 & 0x3F));
  }
  put(0x80 | (character & 0x3F));
}

}  // namespace accordion
