#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace accordion {

/// The whole of a file or pipe; UserError where it cannot be read. Of devices only a terminal and /dev/null are read:
/// the others have no end.
std::string read_file(const std::filesystem::path& path);

/// Replaces `path` by `content` so that a reader, or a crash at any moment, sees either the old file or the new one:
/// writes beside it (`path.partial`), fsyncs, renames, fsyncs the folder. UserError (disk full, not writable) leaves
/// the old file. A link stays, and what it points to is replaced. A pipe or device is written to as it is.
void write_file(const std::filesystem::path& path, std::string_view content);

/// UserError for a device that is neither a terminal nor /dev/null: reading it has no end.
void check_has_end(const std::filesystem::path& path);

/// UserError where write_file(path, ...) would fail at once: a folder, or a place that is not to be written.
void check_writable(const std::filesystem::path& path);

/// fsyncs a file or folder, where the file system can.
void sync_path(const std::filesystem::path& path);

/// Cuts a file to so many bytes.
void cut_file(const std::filesystem::path& path, uint64_t bytes);

/// A writer that reports every failed write (a full disk, say) as a UserError that names the file.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path, bool append = false);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void flush();                          ///< to the operating system
  void sync();                           ///< to the disk
  void close();                          ///< sync and close; errors that a destructor must swallow surface here
  size_t size() const { return size_; }  ///< bytes in the file so far

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string buffer_;
  size_t size_ = 0;
};

/// The bytes of a whole file, mapped into memory; read into it where the file system has no maps.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  const std::byte* data() const { return data_ != nullptr ? data_ : reinterpret_cast<const std::byte*>(read_.data()); }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string read_;  // holds the bytes where they are not mapped
};

}  // namespace accordion
