#include "base/text.h"

#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace accordion {
namespace {

std::optional<double> parse_prefix(const std::string& text, std::string& rest) {
  // strtod would take hexadecimal, "nan" and "inf", none of which is a number in a recipe.
  if (text.empty() || text.find_first_not_of("0123456789+-.eEkKmMgGtTiIbB ") != std::string::npos) return {};
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(value)) return {};
  rest = end;
  return value;
}

std::optional<int64_t> whole(double value) {
  if (value != std::floor(value) || std::fabs(value) > 9e15) return {};
  return static_cast<int64_t>(value);
}

// The private characters U+10F700 .. U+10F7FF that stand for bytes: F4 8F 9C 80 .. F4 8F 9F BF.
constexpr std::string_view kByteLead = "\xF4\x8F";
constexpr size_t kByteSize = 4;

bool is_byte(std::string_view text, size_t at) {
  return text.substr(at, 2) == kByteLead && text.size() - at >= kByteSize &&
         (static_cast<unsigned char>(text[at + 2]) & 0xFC) == 0x9C;
}

}  // namespace

std::optional<double> parse_real(const std::string& text) {
  std::string rest;
  auto value = parse_prefix(text, rest);
  return rest.empty() ? value : std::nullopt;
}

std::optional<int64_t> parse_count(const std::string& text) {
  std::string rest;
  auto value = parse_prefix(text, rest);
  if (!value) return {};
  if (rest.empty()) return whole(*value);
  if (rest == "k" || rest == "K") return whole(*value * 1024);
  if (rest == "m" || rest == "M") return whole(*value * 1024 * 1024);
  return {};
}

std::optional<int64_t> parse_bytes(const std::string& text) {
  std::string rest;
  auto value = parse_prefix(text, rest);
  if (!value || *value < 0) return {};
  rest.erase(0, rest.find_first_not_of(' '));
  if (rest.empty() || rest == "B") return whole(std::floor(*value));
  const auto power = std::string("KMGT").find(static_cast<char>(std::toupper(rest[0])));
  if (power == std::string::npos) return {};
  const auto unit = rest.substr(1);
  if (unit != "" && unit != "iB" && unit != "B") return {};
  return whole(std::floor(*value * std::pow(unit == "B" ? 1000.0 : 1024.0, static_cast<double>(power + 1))));
}

int measure_utf8(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  int length = 0;
  unsigned low = 0x80, high = 0xBF;  // of the second byte: no overlong forms, no surrogates, nothing above U+10FFFF
  if (lead >= 0xC2 && lead <= 0xDF) length = 2;
  if (lead >= 0xE0 && lead <= 0xEF) length = 3;
  if (lead >= 0xF0 && lead <= 0xF4) length = 4;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (length == 0 || byte(1) < low || byte(1) > high) return -1;
  for (int i = 2; i < length; ++i)
    if (byte(static_cast<size_t>(i)) < 0x80 || byte(static_cast<size_t>(i)) > 0xBF) return -i;
  return length;
}

std::string as_utf8(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const int length = measure_utf8(bytes, at);
    if (length > 0 && !is_byte(bytes, at)) {
      text += bytes.substr(at, static_cast<size_t>(length));
      at += static_cast<size_t>(length);
      continue;
    }
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    text += kByteLead;
    text += static_cast<char>(0x9C | byte >> 6);
    text += static_cast<char>(0x80 | (byte & 0x3F));
  }
  return text;
}

std::string bytes_of_utf8(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    if (!is_byte(text, at)) {
      bytes += text[at++];
      continue;
    }
    bytes += static_cast<char>((text[at + 2] & 0x03) << 6 | (text[at + 3] & 0x3F));
    at += kByteSize;
  }
  return bytes;
}

std::string format(const char* pattern, ...) {
  va_list args, again;
  va_start(args, pattern);
  va_copy(again, args);
  const int size = std::vsnprintf(nullptr, 0, pattern, args);
  std::string text(static_cast<size_t>(size), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(args);
  va_end(again);
  return text;
}

std::string format_bytes(double bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) bytes /= 1024, ++unit;
  return format(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string format_count(double count) {
  if (count < 1e3) return format("%.0f", count);
  if (count < 1e6) return format("%.1fk", count / 1e3);
  if (count < 1e9) return format("%.1fM", count / 1e6);
  if (count < 1e12) return format("%.2fB", count / 1e9);
  return format("%.2fT", count / 1e12);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds)) return "--:--";
  const auto whole_seconds = static_cast<int64_t>(std::llround(std::fmax(0, seconds)));
  const long long h = whole_seconds / 3600, m = whole_seconds / 60 % 60, s = whole_seconds % 60;
  return h > 0 ? format("%lld:%02lld:%02lld", h, m, s) : format("%02lld:%02lld", m, s);
}

std::string format_thousands(int64_t count) {
  auto digits = std::to_string(count);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

}  // namespace accordion
