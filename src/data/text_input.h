#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace accordion {

/// The files that `inputs` (files, folders, shell patterns) stand for, sorted by path, each once. Of a folder, and the
/// folders in it, those whose name matches `glob`, or by default the text and JSON-lines files. UserError where an
/// input is missing or gives none.
std::vector<std::filesystem::path> find_texts(const std::vector<std::string>& inputs, const std::string& glob);

/// A part of a text: a whole line of a `.jsonl`, a whole file, or a piece of a large one.
struct TextPart {
  std::string text;
  size_t file = 0;   // index into the list of files
  int64_t line = 0;  // of a .jsonl, from 1; 0 = plain text
  bool last = true;  // ends its document
};

/// Reads files one after another, decompressing `.gz` and `.zst`, in bounded memory: the largest thing held is one line
/// of a
/// `.jsonl`, or 8 MiB of a text.
class TextReader {
 public:
  /// `cuts`: whether texts may be cut (before the space in `letter space letter`); `drops_space`: the cut swallows the
  /// space.
  TextReader(std::vector<std::filesystem::path> files, bool cuts, bool drops_space);
  ~TextReader();

  /// The next part, none at the end of the last file.
  std::optional<TextPart> next();

  double bytes_read() const;  ///< of the files as they lie on disk
  double bytes_total() const { return bytes_total_; }
  double bytes_of_text() const { return bytes_of_text_; }  ///< after decompression

 private:
  struct Stream;
  bool open_next();
  bool fill();
  TextPart next_line(), next_piece();

  std::vector<std::filesystem::path> files_;
  bool cuts_, drops_space_;
  std::unique_ptr<Stream> stream_;
  size_t file_ = 0, next_file_ = 0;  // of the open stream, and of the one to come
  bool lines_ = false;               // the open file is a .jsonl
  int64_t line_ = 0;
  std::string buffer_;  // read and not yet given out: [at_, size)
  size_t at_ = 0;
  bool ended_ = false;  // nothing more comes into the buffer
  bool fresh_ = true;   // nothing of this file was given out yet
  double bytes_total_ = 0, bytes_before_ = 0, bytes_of_text_ = 0;
};

/// The text of a line of a `.jsonl`: the string under `field`. Damaged UTF-8 and lone surrogates become U+FFFD and are
/// added to `damaged`. UserError names `where` (file:line).
std::string text_of_line(std::string line, const std::string& field, const std::string& where, int64_t& damaged);

}  // namespace accordion
