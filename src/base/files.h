#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace accordion {

/// The whole of a file; UserError where it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Replaces `path` by `content` so that a reader, or a crash at any moment, sees either the old file or the new one:
/// writes beside it, fsyncs, renames, fsyncs the folder. UserError (disk full, not writable) leaves the old file.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Same for a folder: `fill` writes into a fresh folder beside `path`, then every file is fsynced and the folder
/// renamed to `path` (replacing one of that name). Where `fill` throws, nothing is left behind.
void write_folder(const std::filesystem::path& path, const std::function<void(const std::filesystem::path&)>& fill);

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

/// A read-only memory map of a whole file.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace accordion
