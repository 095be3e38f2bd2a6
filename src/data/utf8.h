#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace accordion {

/// Replaces each damaged sequence of `text` by U+FFFD, one for each maximal part of a character that never became
/// whole: what Python's decode(errors="replace") gives, and so what Hugging Face's tokenizers see. Returns how many
/// there were.
int64_t repair_utf8(std::string& text);

/// The character at `at` of valid UTF-8; moves `at` behind it.
char32_t next_character(std::string_view text, size_t& at);

void append_character(std::string& text, char32_t character);

}  // namespace accordion
