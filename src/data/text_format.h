#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/names.h"

namespace accordion {

/// What a person says the inputs are (--input-kind); `automatic` = as their endings and contents say.
enum class InputKind { automatic, text, jsonl };
template <>
struct Names<InputKind> {
  static constexpr std::array<std::string_view, 3> value{"auto", "text", "jsonl"};
};

/// How documents lie in a file: the whole of it, an object a line, or JSON objects one after another or in one array.
enum class TextFormat { text, lines, objects };

/// The first bytes of a file, decompressed: as many as asked for, or fewer where it ends before. Bytes asked for once
/// stay where they were only until more are asked for.
using Head = std::function<std::string_view(size_t bytes)>;

/// Whether a folder's file of this name is taken where no --glob says so: text and JSON lines under their usual
/// endings, in any case, also compressed.
bool is_text_by_name(const std::string& name);

/// The format of a file, by its content where that tells, else by its ending below those of compressions. UserError,
/// naming the file and what to do: for what is no text (programs, pictures, archives, tables, UTF-16), and where ending
/// and content contradict each other.
TextFormat text_format(const std::filesystem::path& file, InputKind kind, const Head& head);

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace accordion
