#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace accordion {

/// A count as people write it: `16384`, `16k` (= 16 x 1024), `2m` (= 2 x 1024^2), `20e6`, `1.5e3`; whole numbers only.
std::optional<int64_t> parse_count(const std::string& text);

/// A real number that takes the whole of `text`.
std::optional<double> parse_real(const std::string& text);

/// A size in bytes: `4GiB`, `512MiB`, `80GB`, `1024`; K, M, G, T with `iB` for powers of 1024 and `B` for powers of
/// 1000.
std::optional<int64_t> parse_bytes(const std::string& text);

std::string format_bytes(double bytes);       ///< `2.1 GiB`
std::string format_count(double count);       ///< `31.2k`, `20.0M`
std::string format_duration(double seconds);  ///< `03:10`, `1:02:03`
std::string format_thousands(int64_t count);  ///< `1,234,567`
/// Bytes of the valid UTF-8 character at `at`, or minus the bytes of the damaged part there (Unicode 15, table 3-7).
int measure_utf8(std::string_view text, size_t at);

/// Any bytes as valid UTF-8 that bytes_of_utf8() turns back: paths are bytes, and JSON and YAML hold characters. Valid
/// text stays as it is; a byte that belongs to no character becomes one of the private characters U+10F700 + byte (so
/// do the bytes of those characters themselves).
std::string as_utf8(std::string_view bytes);
std::string bytes_of_utf8(std::string_view text);

/// printf into a string.
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

}  // namespace accordion
