#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

namespace accordion {

/// Fills `out` with up to `size` bytes; fewer only where that is all there is at the moment, 0 at the end.
using ReadBytes = std::function<size_t(char* out, size_t size)>;

/// The content of a file, decompressed in bounded memory. The first bytes say how, whatever the file is called: gzip,
/// zstd, xz, bzip2 (each of many parts, one after another), layers of them, or nothing at all.
class ByteStream {
 public:
  /// UserError where the file cannot be opened, or is of a compression that is not read.
  explicit ByteStream(const std::filesystem::path& path);
  ~ByteStream();

  /// The next bytes, 0 at the end. UserError, naming the file, where it is damaged, cut off or cannot be read.
  size_t read(char* out, size_t size) { return read_(out, size); }
  double position() const;  ///< bytes of the file on disk that were read

 private:
  struct File;
  std::shared_ptr<File> file_;
  ReadBytes read_;
};

}  // namespace accordion
