#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/decompress.h"
#include "data/text_format.h"

namespace accordion {

/// The files that `inputs` (files, folders, shell patterns) stand for, sorted by path, each once. Of a folder, and the
/// folders in it, those whose name matches `glob`, or by default the text and JSON-lines files; hidden ones (a name
/// that begins with a dot) only where `glob` spells the dot. UserError where an input is missing or gives none, or a
/// file is not text (see text_format).
std::vector<std::filesystem::path> find_texts(const std::vector<std::string>& inputs, const std::string& glob,
                                              InputKind kind = InputKind::automatic);

/// A part of a text: a JSON object (a line of JSON lines, an element of an array), a whole file, or a piece of a large
/// one.
struct TextPart {
  std::string text;
  size_t file = 0;   // index into the list of files
  int64_t line = 0;  // where a JSON object begins, from 1; 0 = plain text
  bool last = true;  // ends its document
};

/// Reads files one after another, decompressing them, in bounded memory: the largest thing held is one JSON object, or
/// 16 MiB of a text. A byte order mark at the start of a file is dropped.
class TextReader {
 public:
  /// `cuts`: whether texts may be cut (before the space in `letter space letter`); `drops_space`: the cut swallows the
  /// space.
  TextReader(std::vector<std::filesystem::path> files, bool cuts, bool drops_space,
             InputKind kind = InputKind::automatic);
  ~TextReader();

  /// The next part, none at the end of the last file. UserError, naming file and line, where it is damaged or not text.
  std::optional<TextPart> next();

  double bytes_read() const;  ///< of the files as they lie on disk
  double bytes_total() const { return bytes_total_; }
  double bytes_of_text() const { return bytes_of_text_; }  ///< after decompression

 private:
  bool open_next();
  bool fill();
  std::string_view head(size_t bytes);
  TextPart next_line(), next_piece();
  std::optional<TextPart> next_object();
  int next_non_blank();

  std::vector<std::filesystem::path> files_;
  bool cuts_, drops_space_;
  InputKind kind_;
  std::optional<ByteStream> stream_;
  size_t file_ = 0, next_file_ = 0;  // of the open stream, and of the one to come
  TextFormat format_ = TextFormat::text;
  int64_t line_ = 0;    // of JSON: of the last part, or (objects) where the buffer goes on
  std::string buffer_;  // read and not yet given out: [at_, size)
  size_t at_ = 0;
  bool ended_ = false;                                           // nothing more comes into the buffer
  bool fresh_ = true;                                            // nothing of this file was given out yet
  enum class Array { none, open, closed } array_ = Array::none;  // objects: whether they lie in one
  double bytes_total_ = 0, bytes_before_ = 0, bytes_of_text_ = 0;
};

}  // namespace accordion
