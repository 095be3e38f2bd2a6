#include "data/json_text.h"

#include <array>
#include <vector>

#include "base/error.h"
#include "data/utf8.h"

namespace accordion {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Replaces escapes of lone surrogates (\ud800 without its partner), which stand for no character, by \ufffd.
int64_t repair_surrogates(std::string& json) {
  int64_t damaged = 0;
  const auto surrogate = [&](size_t at) {  // 'h'igh (D800 to DBFF), 'l'ow (DC00 to DFFF), or 0
    if (at + 6 > json.size() || json[at] != '\\' || json[at + 1] != 'u' || (json[at + 2] | 0x20) != 'd') return '\0';
    const auto third = std::string_view("89abcdef").find(static_cast<char>(json[at + 3] | 0x20));
    return third == std::string_view::npos ? '\0' : third < 4 ? 'h' : 'l';
  };
  for (size_t at = 0; at + 1 < json.size(); ++at) {
    if (json[at] != '\\') continue;
    const char kind = surrogate(at);
    if (kind == 'h' && surrogate(at + 6) == 'l') {
      at += 11;
    } else if (kind != 0) {
      json.replace(at, 6, "\\ufffd");
      ++damaged;
      at += 5;
    } else {
      ++at;  // the escaped character
    }
  }
  return damaged;
}

/// Appends the number (a sign, digits, a fraction, an exponent) at `at` and moves behind it: an exponent of three and
/// more digits becomes 0, and of very many digits the first stay, so that it fits into a double. What was no number
/// stays none.
void append_in_range(std::string& out, std::string_view json, size_t& at) {
  constexpr size_t kDigits = 40;
  bool exponent = false;
  while (at < json.size()) {
    const char c = json[at];
    if (is_digit(c)) {
      size_t end = at;
      while (end < json.size() && is_digit(json[end])) ++end;
      if (exponent && end - at >= 3)
        out += '0';
      else
        out.append(json.substr(at, std::min(end - at, kDigits)));
      at = end;
    } else if (c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E') {
      exponent = exponent || c == 'e' || c == 'E';
      out += c;
      ++at;
    } else {
      return;
    }
  }
}

/// The text with what Python's json writes and reads beyond the standard spelt within it.
std::string standard_numbers(std::string_view json) {
  constexpr std::array<std::string_view, 3> kWords{"NaN", "Infinity", "-Infinity"};
  std::string out;
  out.reserve(json.size());
  for (size_t at = 0; at < json.size();) {
    const char c = json[at];
    if (c == '"') {
      size_t end = at + 1;
      while (end < json.size() && json[end] != '"') end += json[end] == '\\' ? 2 : 1;
      out.append(json.substr(at, end + 1 - at));
      at = end + 1;
      continue;
    }
    const auto rest = json.substr(at);
    const auto* const word =
        std::find_if(kWords.begin(), kWords.end(), [&](auto name) { return rest.starts_with(name); });
    if (word != kWords.end()) {
      out += "null";
      at += word->size();
    } else if (is_digit(c) || c == '-') {
      append_in_range(out, json, at);
    } else {
      out += c;
      ++at;
    }
  }
  return out;
}

}  // namespace

nlohmann::json parse_json(std::string text, int64_t& damaged) {
  damaged += repair_utf8(text);
  auto parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_discarded()) return parsed;
  // Rarely needed, so only looked for where the standard's own way failed.
  const auto lone = repair_surrogates(text);
  parsed = nlohmann::json::parse(standard_numbers(text), nullptr, false);
  if (!parsed.is_discarded()) damaged += lone;
  return parsed;
}

std::string text_of_line(std::string line, const std::string& field, const std::string& where, int64_t& damaged) {
  auto parsed = parse_json(std::move(line), damaged);
  if (parsed.is_discarded()) throw UserError(where + ": not valid JSON; each line must be one object");
  if (!parsed.is_object())
    throw UserError(where + ": not a JSON object; each line must be one, with the text under '" + field + "'");
  const auto found = parsed.find(field);
  if (found == parsed.end()) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : parsed.items()) keys.push_back(key);
    throw UserError(where + ": no field '" + field + "'" + suggestion(field, keys) + " (--text-field)");
  }
  if (!found->is_string())
    throw UserError(where + ": '" + field + "' is not a string; name the field of the text with --text-field");
  return std::move(found->get_ref<std::string&>());
}

size_t ObjectEnd::find(std::string_view text) {
  for (; at_ < text.size(); ++at_) {
    const char c = text[at_];
    if (in_string_) {
      if (c == '\\') {
        if (at_ + 1 >= text.size()) return std::string_view::npos;  // the escaped character is to come
        ++at_;
      } else if (c == '"') {
        in_string_ = false;
      }
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{') {
      ++depth_;
    } else if (c == '}' && --depth_ == 0) {
      return ++at_;
    }
  }
  return std::string_view::npos;
}

}  // namespace accordion
