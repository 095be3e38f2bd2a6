#include "data/text_format.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "data/json_text.h"

namespace fs = std::filesystem;
using namespace std::string_view_literals;

namespace accordion {
namespace {

constexpr size_t kLook = size_t{64} << 10;         // bytes that tell text from other things
constexpr size_t kLongestLook = size_t{16} << 20;  // for the end of the first object
constexpr std::string_view kBlanks = " \t\r\n";

constexpr std::array kCompressions{".gz"sv, ".gzip"sv, ".zst"sv, ".zstd"sv, ".xz"sv, ".bz2"sv, ".bzip2"sv};
constexpr std::array kTexts{".txt"sv, ".text"sv, ".md"sv, ".markdown"sv, ".rst"sv};
constexpr std::array kLines{".jsonl"sv, ".ndjson"sv, ".ldjson"sv, ".jsonlines"sv};
constexpr std::array kTables{".csv"sv, ".tsv"sv};
constexpr std::string_view kParquet = ".parquet";

template <size_t N>
bool among(const std::array<std::string_view, N>& endings, std::string_view ending) {
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

/// The last ending of a name that is none of a compression, in small letters: `.jsonl` of A.JSONL.gz.
std::string ending_of(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  for (;;) {
    const auto ending = fs::path(name).extension().string();
    if (!among(kCompressions, ending)) return ending;
    name.resize(name.size() - ending.size());
  }
}

struct Magic {
  size_t at;
  std::string_view bytes;
  const char *what, *advice;
};
constexpr const char* kUnpack = "unpack it, and give its texts";
constexpr const char* kExtract = "extract its text first";
constexpr const char* kMakeLines = "write its texts as JSON lines first";
constexpr const char* kLeaveOut = "leave it out";
// Of formats that people have beside their texts. Whatever else is no text shows by its bytes.
constexpr Magic kMagics[] = {
    {257, "ustar"sv, "a tar archive", kUnpack},
    {0, "PK\x03\x04"sv, "a zip archive (or a document, table or model that is one)", kUnpack},
    {0, "PK\x05\x06"sv, "a zip archive", kUnpack},
    {0, "7z\xBC\xAF\x27\x1C"sv, "a 7z archive", kUnpack},
    {0, "Rar!\x1A\x07"sv, "a rar archive", kUnpack},
    {0, "!<arch>\n"sv, "an ar archive", kUnpack},
    {0, "WARC/1."sv, "a WARC archive of web pages", kMakeLines},
    {0, "%PDF-"sv, "a PDF", kExtract},
    {0, "{\\rtf"sv, "an RTF document", kExtract},
    {0, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, "an Office document", kExtract},
    {0, "ARROW1"sv, "an Arrow file", kMakeLines},
    {0, "FEA1"sv, "a Feather file", kMakeLines},
    {0, "\xFF\xFF\xFF\xFF"sv, "an Arrow stream", kMakeLines},
    {0, "Obj\x01"sv, "an Avro file", kMakeLines},
    {0, "ORC\n"sv, "an ORC file", kMakeLines},
    {0, "SQLite format 3"sv, "an SQLite database", kMakeLines},
    {0, "\x89HDF\r\n"sv, "an HDF5 file", kMakeLines},
    {0, "\x93NUMPY"sv, "a NumPy array", kLeaveOut},
    {0, "MMIDIDX"sv, "the index of a corpus, which needs no preparing", "name its folder in the recipe"},
    {0, "GGUF"sv, "a model (GGUF)", kLeaveOut},
    {0,
     "\x7F"
     "ELF"sv,
     "a program", kLeaveOut},
    {0, "\x89PNG"sv, "a picture", kLeaveOut},
    {0, "\xFF\xD8\xFF"sv, "a picture", kLeaveOut},
    {0, "GIF8"sv, "a picture", kLeaveOut},
    {0, "II*\0"sv, "a picture", kLeaveOut},
    {0, "MM\0*"sv, "a picture", kLeaveOut},
    {4, "ftyp"sv, "a film", kLeaveOut},
    {0, "OggS"sv, "a sound", kLeaveOut},
    {0, "fLaC"sv, "a sound", kLeaveOut},
    {0, "ID3\x03"sv, "a sound", kLeaveOut},
    {0, "ID3\x04"sv, "a sound", kLeaveOut},
};

[[noreturn]] void refuse(const fs::path& file, const std::string& what, const std::string& advice) {
  throw UserError(file.string() + ": " + what + "; " + advice);
}

[[noreturn]] void refuse_parquet(const fs::path& file) {
  refuse(file, "this build reads no parquet",
         "make JSON lines of it: python3 -c \"import pandas; pandas.read_parquet('" + file.filename().string() +
             "').to_json('" + file.stem().string() + ".jsonl', orient='records', lines=True)\"");
}

/// A pickle of protocol 2 to 5.
bool is_pickle(std::string_view start) {
  return start.size() > 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;
}

/// UTF-16 and UTF-32, by their marks or by where the zeros of their Latin letters lie; none for other text.
std::optional<std::string> wide_encoding(std::string_view start) {
  if (start.starts_with("\xFF\xFE\0\0"sv)) return "UTF-32LE";
  if (start.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32BE";
  if (start.starts_with("\xFF\xFE")) return "UTF-16LE";
  if (start.starts_with("\xFE\xFF")) return "UTF-16BE";
  std::array<size_t, 4> zeros{};  // by place modulo 4
  for (size_t i = 0; i < start.size(); ++i) zeros[i % 4] += start[i] == '\0';
  const size_t quarter = start.size() / 4;
  if (quarter == 0) return {};
  const auto many = [&](size_t place) { return zeros[place] * 2 > quarter; };  // zero in most characters
  const auto few = [&](size_t place) { return zeros[place] * 10 < quarter; };
  if (many(1) && many(2) && many(3) && few(0)) return "UTF-32LE";
  if (many(0) && many(1) && many(2) && few(3)) return "UTF-32BE";
  if (many(1) && many(3) && few(0) && few(2)) return "UTF-16LE";
  if (many(0) && many(2) && few(1) && few(3)) return "UTF-16BE";
  return {};
}

void refuse_what_is_no_text(const fs::path& file, std::string_view start) {
  if (start.starts_with("PAR1")) refuse_parquet(file);
  for (const auto& [at, bytes, what, advice] : kMagics)
    if (start.size() > at && start.substr(at).starts_with(bytes))
      refuse(file, std::string("no text but ") + what, advice);
  if (is_pickle(start)) refuse(file, "no text but a Python pickle", kMakeLines);
  if (const auto wide = wide_encoding(start))
    refuse(file, "the text is " + *wide, "convert it: iconv -f " + *wide + " -t UTF-8");
  if (const auto zero = start.find('\0'); zero != std::string_view::npos)
    refuse(file, "no text: byte " + format_thousands(static_cast<int64_t>(zero) + 1) + " is NUL",
           "leave it out, or take them out: tr -d '\\000'");
  const auto controls = std::count_if(start.begin(), start.end(), [](char c) {
    return (c >= 1 && c < 0x20 && "\b\t\n\v\f\r\x1B"sv.find(c) == std::string_view::npos) || c == 0x7F;
  });
  if (controls > 3 && static_cast<size_t>(controls) * 50 > start.size())
    refuse(file,
           "no text: " + std::to_string(static_cast<size_t>(controls) * 100 / start.size()) +
               "% of its first bytes are control characters",
           kLeaveOut);
}

bool is_object(std::string_view text) {
  int64_t damaged = 0;
  return parse_json(std::string(text), damaged).is_object();
}

/// The place of the first character at or after `from` that is not blank; npos where there is none.
size_t next_character_at(const Head& head, size_t from) {
  for (size_t size = from + kLook;; size *= 2) {
    const auto text = head(size);
    const auto found = text.find_first_not_of(kBlanks, from);
    if (found != std::string_view::npos || text.size() < size || size > kLongestLook) return found;
  }
}

/// The line at `from`, without its end; none where it is too long to look at.
std::optional<std::string> line_at(const Head& head, size_t from) {
  for (size_t size = from + kLook;; size *= 2) {
    const auto text = head(size);
    const auto end = text.find('\n', from);
    if (end != std::string_view::npos || text.size() < size) return std::string(text.substr(from, end - from));
    if (size > kLongestLook) return {};
  }
}

/// What a content looks like that is not plain text.
struct Look {
  TextFormat format;
  bool begins_with_line;  // an object that has the first line for itself
};

/// Whether the object or array that begins at `first` holds, and goes on as, JSON objects one after another.
bool looks_like_objects(const Head& head, size_t first) {
  const bool array = head(first + 1)[first] == '[';
  const size_t object = array ? next_character_at(head, first + 1) : first;
  if (object == std::string_view::npos || head(object + 1)[object] != '{') return false;
  ObjectEnd end;
  for (size_t size = object + kLook;; size *= 2) {
    const auto text = head(size);
    if (const auto found = end.find(text.substr(object)); found != std::string_view::npos) {
      if (!is_object(text.substr(object, found))) return false;
      if (array) return true;  // what is wrong behind it is named when it is read
      const size_t after = next_character_at(head, object + found);
      return after == std::string_view::npos || head(after + 1)[after] == '{';
    }
    if (text.size() < size) return false;
    if (size > kLongestLook) return true;
  }
}

std::optional<Look> look_of(const Head& head) {
  const size_t mark = head(kLook).starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  const size_t first = next_character_at(head, mark);
  if (first == std::string_view::npos) return {};
  const char bracket = head(first + 1)[first];
  if (bracket != '{' && bracket != '[') return {};
  const auto line = bracket == '{' ? line_at(head, first) : std::nullopt;
  const bool begins_with_line = line && is_object(*line);
  if (begins_with_line) {
    const size_t second = next_character_at(head, first + line->size());
    const auto next = second == std::string_view::npos ? std::nullopt : line_at(head, second);
    if (second == std::string_view::npos || (next && is_object(*next))) return Look{TextFormat::lines, true};
  }
  if (!looks_like_objects(head, first)) return {};
  return Look{TextFormat::objects, begins_with_line};
}

}  // namespace

bool is_text_by_name(const std::string& name) {
  const auto ending = ending_of(name);
  return among(kTexts, ending) || among(kLines, ending) || ending == ".json" || ending == kParquet;
}

TextFormat text_format(const fs::path& file, InputKind kind, const Head& head) {
  refuse_what_is_no_text(file, head(kLook).substr(0, kLook));
  const auto ending = ending_of(file.filename().string());
  if (ending == kParquet) refuse_parquet(file);
  if (kind == InputKind::text) return TextFormat::text;
  const auto look = look_of(head);
  if (kind == InputKind::jsonl || among(kLines, ending)) {
    // Where the first line is right, a later one that is not is named when it is read.
    return look && !look->begins_with_line ? look->format : TextFormat::lines;
  }
  if (ending == ".json") {
    if (!look)
      refuse(file, "holds no JSON objects, each with a text",
             "give JSON lines (one object a line), an array of objects, or --input-kind text to read it as plain text");
    return look->format;
  }
  if (among(kTables, ending))
    refuse(file, "a table is not one text",
           "make JSON lines of it (one object a line), or give --input-kind text to read it as plain text");
  if (look && among(kTexts, ending))
    refuse(file,
           std::string("ends in ") + ending + " and holds " +
               (look->format == TextFormat::lines ? "JSON lines" : "JSON objects"),
           "give --input-kind jsonl to read its objects as documents, or --input-kind text to read it as one text");
  return look ? look->format : TextFormat::text;
}

}  // namespace accordion
