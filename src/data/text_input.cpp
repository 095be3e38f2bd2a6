#include "data/text_input.h"

#include <fnmatch.h>
#include <glob.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/paths.h"
#include "data/json_text.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr size_t kRead = size_t{256} << 10;   // bytes at a time
constexpr size_t kPiece = size_t{256} << 10;  // of a large text, cut at the next good place
constexpr size_t kLongestPiece = size_t{8} << 20;
bool is_hidden(const fs::path& name) { return name.string().starts_with('.'); }

void add_folder(const fs::path& folder, const std::string& pattern, std::vector<fs::path>& files) {
  // Hidden files and folders belong to other programs: a pattern has to spell the dot to mean them.
  const bool takes_hidden = pattern.starts_with('.') || pattern.find("/.") != std::string::npos;
  const size_t before = files.size();
  for (const auto& path : all_below(folder)) {
    if (!is_file(path)) continue;
    const auto name = path.filename().string();
    const auto relative = path.lexically_relative(folder);
    const bool hidden = std::any_of(relative.begin(), relative.end(), is_hidden);
    if (hidden && !takes_hidden) continue;
    const bool matches = ::fnmatch(pattern.c_str(), name.c_str(), hidden ? FNM_PERIOD : 0) == 0 ||
                         ::fnmatch(pattern.c_str(), relative.c_str(), 0) == 0;
    if (pattern.empty() ? is_text_by_name(name) : matches) files.push_back(path);
  }
  if (files.size() > before) return;
  throw UserError(folder.string() +
                  (pattern.empty() ? ": no .txt, .md, .rst, .jsonl, .ndjson or .json files (also .gz, .zst, .xz, .bz2) "
                                     "in this folder; name others with --glob, as in --glob '*.html'"
                                   : ": no file in this folder matches --glob '" + pattern + "'"));
}

std::vector<fs::path> expand(const std::string& pattern) {
  std::vector<fs::path> found;
  glob_t matches = {};
  if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0)
    for (size_t i = 0; i < matches.gl_pathc; ++i) found.emplace_back(matches.gl_pathv[i]);
  ::globfree(&matches);
  return found;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// The first `bytes` of a stream, or all it has, in `buffer`, which already holds some.
bool fill_to(ByteStream& stream, std::string& buffer, size_t bytes) {
  while (buffer.size() < bytes) {
    const size_t before = buffer.size();
    buffer.resize(before + kRead);
    const size_t got = stream.read(buffer.data() + before, kRead);
    buffer.resize(before + got);
    if (got == 0) return false;
  }
  return true;
}

/// Before hours of work: every file that can be opened twice (a pipe cannot) is text and of a known format.
void check_text(const fs::path& file, InputKind kind) {
  if (!is_file(file)) return;
  ByteStream stream(file);
  std::string start;
  text_format(file, kind, [&](size_t bytes) {
    fill_to(stream, start, bytes);
    return std::string_view(start);
  });
}

}  // namespace

std::vector<fs::path> find_texts(const std::vector<std::string>& inputs, const std::string& glob, InputKind kind) {
  std::vector<fs::path> files;
  bool folders = false;
  for (const auto& input : inputs) {
    auto found = stands(input) ? std::vector<fs::path>{input} : expand(input);
    if (found.empty()) throw UserError(input + ": no such file or folder");
    for (const auto& path : found) {
      if (is_folder(path)) {
        folders = true;
        add_folder(path, glob, files);
      } else {
        files.push_back(path);
      }
    }
  }
  if (!glob.empty() && !folders)
    throw UserError("--glob chooses among the files of a folder, and no input is a folder");
  std::sort(files.begin(), files.end());
  std::set<fs::path> seen;  // links and overlapping patterns would double a text
  std::erase_if(files, [&](const fs::path& file) { return !seen.insert(resolved(file)).second; });
  for (const auto& file : files) check_text(file, kind);
  return files;
}

TextReader::TextReader(std::vector<fs::path> files, bool cuts, bool drops_space, InputKind kind)
    : files_(std::move(files)), cuts_(cuts), drops_space_(drops_space), kind_(kind) {
  for (const auto& file : files_) bytes_total_ += static_cast<double>(bytes_of(file));
}

TextReader::~TextReader() = default;

double TextReader::bytes_read() const { return bytes_before_ + (stream_ ? stream_->position() : 0); }

bool TextReader::open_next() {
  if (stream_) bytes_before_ += stream_->position();
  stream_.reset();
  if (next_file_ == files_.size()) return false;
  file_ = next_file_++;
  stream_.emplace(files_[file_]);
  buffer_.clear();
  at_ = 0;
  ended_ = false;
  fresh_ = true;
  format_ = text_format(files_[file_], kind_, [this](size_t bytes) { return head(bytes); });
  line_ = format_ == TextFormat::objects ? 1 : 0;
  array_ = Array::none;
  if (head(kByteOrderMark.size()).starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  return true;
}

/// The first bytes of the file that was just opened.
std::string_view TextReader::head(size_t bytes) {
  while (buffer_.size() < bytes && fill()) continue;
  return buffer_;
}

bool TextReader::fill() {
  if (ended_) return false;
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t before = buffer_.size();
  ended_ = !fill_to(*stream_, buffer_, before + 1);
  bytes_of_text_ += static_cast<double>(buffer_.size() - before);
  return !ended_;
}

std::optional<TextPart> TextReader::next() {
  for (;;) {
    if (stream_) {
      if (at_ == buffer_.size()) fill();
      if (at_ < buffer_.size()) {
        if (format_ == TextFormat::lines) return next_line();
        if (format_ == TextFormat::text) return next_piece();
        if (auto part = next_object()) return part;
      }
      if (fresh_ && format_ == TextFormat::text) {  // an empty file is an empty document
        fresh_ = false;
        return TextPart{"", file_, 0, true};
      }
    }
    if (!open_next()) return {};
  }
}

TextPart TextReader::next_line() {
  size_t searched = at_, end;
  while ((end = buffer_.find('\n', searched)) == std::string::npos) {
    searched = buffer_.size() - at_;  // fill() moves what is left to the front
    if (!fill()) {
      end = buffer_.size();
      break;
    }
  }
  TextPart part{buffer_.substr(at_, end - at_), file_, ++line_, true};
  at_ = std::min(end + 1, buffer_.size());
  return part;
}

/// The next character that is not blank, left in the buffer; -1 at the end of the file.
int TextReader::next_non_blank() {
  for (;;) {
    const size_t found = std::min(buffer_.find_first_not_of(" \t\r\n", at_), buffer_.size());
    line_ += std::count(buffer_.begin() + static_cast<std::ptrdiff_t>(at_),
                        buffer_.begin() + static_cast<std::ptrdiff_t>(found), '\n');
    at_ = found;
    if (at_ < buffer_.size()) return static_cast<unsigned char>(buffer_[at_]);
    if (!fill()) return -1;
  }
}

/// The next object of a JSON file, none at its end: of an array, or of objects that follow each other.
std::optional<TextPart> TextReader::next_object() {
  const auto wrong = [&](const std::string& what) {
    return UserError(files_[file_].string() + ":" + std::to_string(line_) + ": not valid JSON: " + what +
                     "; mend the file, or fetch it again");
  };
  int next = next_non_blank();
  if (fresh_ && next == '[') {
    array_ = Array::open;
    ++at_;
    next = next_non_blank();
  } else if (array_ == Array::open && next == ',') {
    ++at_;
    next = next_non_blank();
    if (next == ']') throw wrong("a comma and no object behind it");
  } else if (array_ == Array::open && next != ']' && next != -1) {
    throw wrong("no comma between two objects");
  }
  fresh_ = false;
  if (array_ == Array::open && next == ']') {
    array_ = Array::closed;
    ++at_;
    next = next_non_blank();
  }
  if (array_ == Array::open && next == -1) throw wrong("the file ends within its array");
  if (next == -1) return {};
  if (array_ == Array::closed) throw wrong("something follows the array");
  if (next != '{') throw wrong("not an object");
  ObjectEnd end;
  size_t size = 0;
  while ((size = end.find(std::string_view(buffer_).substr(at_))) == std::string_view::npos)
    if (!fill()) throw wrong("the file ends within an object");
  TextPart part{buffer_.substr(at_, size), file_, line_, true};
  line_ += std::count(part.text.begin(), part.text.end(), '\n');
  at_ += size;
  return part;
}

TextPart TextReader::next_piece() {
  fresh_ = false;
  const auto give = [&](size_t end, bool last, size_t swallowed = 0) {
    TextPart part{buffer_.substr(at_, end - at_), file_, 0, last};
    at_ = end + swallowed;
    return part;
  };
  for (size_t size = kPiece;;) {  // of the piece: grows up to a place where the text may be cut
    while (buffer_.size() - at_ < size + 2)
      if (!fill()) return give(buffer_.size(), true);
    if (!cuts_) {
      size = buffer_.size() - at_;
    } else if (size >= kLongestPiece) {
      break;
    } else {
      const char* place = buffer_.data() + at_ + size;
      if (place[0] == ' ' && is_letter(place[-1]) && is_letter(place[1]))
        return give(at_ + size, false, drops_space_ ? 1 : 0);
      ++size;
    }
  }
  // No such place in 8 MiB (a script without spaces, say): a line's end, or else a character's. There the ids right at
  // the cut may differ from those of the whole text.
  size_t end = buffer_.rfind('\n', at_ + kLongestPiece);
  if (end == std::string::npos || end <= at_) end = at_ + kLongestPiece;
  while ((buffer_[end] & 0xC0) == 0x80) --end;
  return give(end, false);
}

}  // namespace accordion
