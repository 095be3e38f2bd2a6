#include "data/text_input.h"

#include <fnmatch.h>
#include <glob.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr size_t kRead = size_t{256} << 10;   // bytes at a time
constexpr size_t kPiece = size_t{256} << 10;  // of a large text, cut at the next good place
constexpr size_t kLongestPiece = size_t{8} << 20;
constexpr const char* kTextEndings[] = {".txt", ".text", ".md", ".rst"};
constexpr const char* kEndings[] = {".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"};

bool taken_by_default(const std::string& name) {
  for (const auto* ending : kEndings)
    if (name.ends_with(ending)) return true;
  for (const std::string ending : kTextEndings)
    if (name.ends_with(ending) || name.ends_with(ending + ".gz") || name.ends_with(ending + ".zst")) return true;
  return false;
}

bool is_lines(const fs::path& path) {
  const auto name = path.filename().string();
  return name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") || name.ends_with(".jsonl.zst");
}

void check_kind(const fs::path& file) {
  if (file.extension() == ".parquet")
    throw UserError(
        file.string() +
        ": this build reads no parquet; make JSON lines of it: python3 -c \"import pandas; pandas.read_parquet('" +
        file.filename().string() + "').to_json('" + file.stem().string() + ".jsonl', orient='records', lines=True)\"");
  if (file.extension() == ".json")
    throw UserError(file.string() +
                    ": a .json file is no text; give JSON lines (one object a line) in a file that ends in .jsonl");
}

void add_folder(const fs::path& folder, const std::string& pattern, std::vector<fs::path>& files) {
  const size_t before = files.size();
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!entry.is_regular_file() || name[0] == '.') continue;
    const auto relative = fs::relative(entry.path(), folder).string();
    const bool matches =
        ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0 || ::fnmatch(pattern.c_str(), relative.c_str(), 0) == 0;
    if (pattern.empty() ? taken_by_default(name) : matches) files.push_back(entry.path());
  }
  if (files.size() > before) return;
  throw UserError(folder.string() + (pattern.empty() ? ": no .txt, .md, .rst or .jsonl files (also .gz, .zst) in this "
                                                       "folder; name others with --glob, as in --glob '*.html'"
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

}  // namespace

std::vector<fs::path> find_texts(const std::vector<std::string>& inputs, const std::string& glob) {
  std::vector<fs::path> files;
  bool folders = false;
  for (const auto& input : inputs) {
    auto found = fs::exists(input) ? std::vector<fs::path>{input} : expand(input);
    if (found.empty()) throw UserError(input + ": no such file or folder");
    for (const auto& path : found) {
      if (fs::is_directory(path)) {
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
  std::erase_if(files, [&](const fs::path& file) { return !seen.insert(fs::canonical(file)).second; });
  for (const auto& file : files) check_kind(file);
  return files;
}

/// The decompressed bytes of one file.
struct TextReader::Stream {
  fs::path path;
  std::FILE* file = nullptr;  // plain and .zst
  gzFile gzip = nullptr;
  ZSTD_DStream* zstd = nullptr;
  std::vector<char> packed;
  ZSTD_inBuffer in{nullptr, 0, 0};
  size_t zstd_state = 0;  // 0 between frames

  explicit Stream(const fs::path& from) : path(from) {
    if (path.extension() == ".gz") {
      gzip = ::gzopen(path.c_str(), "rb");
    } else {
      file = std::fopen(path.c_str(), "rb");
    }
    if (!gzip && !file) throw UserError(path.string() + ": cannot open; check that you may read it");
    if (path.extension() == ".zst") {
      zstd = ZSTD_createDStream();
      packed.resize(ZSTD_DStreamInSize());
    }
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (gzip) ::gzclose(gzip);
    if (file) std::fclose(file);
    ZSTD_freeDStream(zstd);
  }

  UserError damaged() const { return UserError(path.string() + ": damaged or cut off; fetch the file again"); }

  /// 0 at the end.
  size_t read(char* out, size_t size) {
    if (gzip) {
      const int got = ::gzread(gzip, out, static_cast<unsigned>(size));
      int code = Z_OK;
      ::gzerror(gzip, &code);
      if (got < 0 || code != Z_OK) throw damaged();
      return static_cast<size_t>(got);
    }
    return zstd ? read_zstd(out, size) : read_file(out, size);
  }
  size_t read_file(char* out, size_t size) {
    const size_t got = std::fread(out, 1, size, file);
    if (got == 0 && std::ferror(file)) throw UserError(path.string() + ": cannot read; check the disk");
    return got;
  }
  size_t read_zstd(char* out, size_t size) {
    ZSTD_outBuffer unpacked{out, size, 0};
    while (unpacked.pos == 0) {
      if (in.pos == in.size) {
        in = {packed.data(), read_file(packed.data(), packed.size()), 0};
        if (in.size == 0) {
          if (zstd_state != 0) throw damaged();
          return 0;
        }
      }
      zstd_state = ZSTD_decompressStream(zstd, &unpacked, &in);
      if (ZSTD_isError(zstd_state)) throw damaged();
    }
    return unpacked.pos;
  }
  double position() const {
    return gzip ? static_cast<double>(::gzoffset(gzip)) : static_cast<double>(std::ftell(file));
  }
};

TextReader::TextReader(std::vector<fs::path> files, bool cuts, bool drops_space)
    : files_(std::move(files)), cuts_(cuts), drops_space_(drops_space) {
  for (const auto& file : files_) bytes_total_ += static_cast<double>(fs::file_size(file));
}

TextReader::~TextReader() = default;

double TextReader::bytes_read() const { return bytes_before_ + (stream_ ? stream_->position() : 0); }

bool TextReader::open_next() {
  if (stream_) bytes_before_ += static_cast<double>(fs::file_size(files_[file_]));
  stream_.reset();
  if (next_file_ == files_.size()) return false;
  file_ = next_file_++;
  stream_ = std::make_unique<Stream>(files_[file_]);
  lines_ = is_lines(files_[file_]);
  line_ = 0;
  buffer_.clear();
  at_ = 0;
  ended_ = false;
  fresh_ = true;
  return true;
}

bool TextReader::fill() {
  if (ended_) return false;
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t before = buffer_.size();
  buffer_.resize(before + kRead);
  const size_t got = stream_->read(buffer_.data() + before, kRead);
  buffer_.resize(before + got);
  bytes_of_text_ += static_cast<double>(got);
  ended_ = got == 0;
  return !ended_;
}

std::optional<TextPart> TextReader::next() {
  for (;;) {
    if (stream_) {
      if (at_ == buffer_.size()) fill();
      if (at_ < buffer_.size()) return lines_ ? next_line() : next_piece();
      if (fresh_ && !lines_) {  // an empty file is an empty document
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

TextPart TextReader::next_piece() {
  if (fresh_ && buffer_.size() - at_ >= 2 &&
      (buffer_.compare(at_, 2, "\xFF\xFE") == 0 || buffer_.compare(at_, 2, "\xFE\xFF") == 0))
    throw UserError(files_[file_].string() + ": the text is UTF-16; convert it: iconv -f UTF-16 -t UTF-8");
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

std::string text_of_line(std::string line, const std::string& field, const std::string& where, int64_t& damaged) {
  damaged += repair_utf8(line);
  auto parsed = nlohmann::json::parse(line, nullptr, false);
  if (parsed.is_discarded()) {
    if (const auto lone = repair_surrogates(line); lone > 0) {
      damaged += lone;
      parsed = nlohmann::json::parse(line, nullptr, false);
    }
  }
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

}  // namespace accordion
