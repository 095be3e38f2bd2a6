#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;

UserError system_error(const fs::path& path, const char* what) {
  const int code = errno;
  auto message = path.string() + ": " + what + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT) message += "; free some space and run the same command again";
  if (code == EACCES || code == EROFS || code == EPERM) message += "; choose a place that you may write to";
  return UserError(message);
}

void sync_path(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw system_error(path, "cannot open");
  const int result = ::fsync(descriptor);
  ::close(descriptor);
  if (result != 0) throw system_error(path, "cannot write to disk");
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

fs::path beside(const fs::path& path) { return path.string() + ".partial"; }

/// Gives the folder `partial` the name `path`. What had the name goes only afterwards, where the file system can
/// exchange names: a kill in between loses neither.
void put_in_place(const fs::path& partial, const fs::path& path) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(partial);
    return;
  }
  fs::remove_all(path);
  if (::rename(partial.c_str(), path.c_str()) != 0) throw system_error(path, "cannot create");
}

}  // namespace

std::string read_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw system_error(path, "cannot open");
  std::string content;
  for (;;) {
    const size_t before = content.size();
    content.resize(before + kBuffer);
    const ssize_t got = ::read(descriptor, content.data() + before, kBuffer);
    if (got < 0 && errno != EINTR) {
      auto error = system_error(path, "cannot read");
      ::close(descriptor);
      throw error;
    }
    content.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) break;
  }
  ::close(descriptor);
  return content;
}

void write_file(const fs::path& path, std::string_view content) {
  const auto partial = beside(path);
  try {
    OutputFile file(partial);
    file.write(content);
    file.close();
    if (::rename(partial.c_str(), path.c_str()) != 0) throw system_error(path, "cannot replace");
    sync_path(folder_of(path));
  } catch (...) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw;
  }
}

void write_folder(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const auto partial = beside(path);
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  try {
    std::error_code failed;
    fs::create_directories(partial, failed);
    if (failed) throw UserError(partial.string() + ": cannot create the folder: " + failed.message());
    fill(partial);
    for (const auto& entry : fs::recursive_directory_iterator(partial)) sync_path(entry.path());
    sync_path(partial);
    put_in_place(partial, path);
    sync_path(folder_of(path));
  } catch (...) {
    fs::remove_all(partial, ignored);
    throw;
  }
}

OutputFile::OutputFile(fs::path path, bool append) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0644);
  if (descriptor_ < 0) throw system_error(path_, "cannot write");
  struct stat info = {};
  if (append && ::fstat(descriptor_, &info) == 0) size_ = static_cast<size_t>(info.st_size);
  buffer_.reserve(kBuffer);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  try {
    flush();
  } catch (const UserError&) {  // close() is where a caller learns of it
  }
  ::close(descriptor_);
}

void OutputFile::write(const void* data, size_t bytes) {
  size_ += bytes;
  buffer_.append(static_cast<const char*>(data), bytes);
  if (buffer_.size() >= kBuffer) flush();
}

void OutputFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t got = ::write(descriptor_, buffer_.data() + done, buffer_.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      auto error = system_error(path_, "cannot write");
      buffer_.clear();  // a destructor that follows must not try again
      throw error;
    }
    done += static_cast<size_t>(got);
  }
  buffer_.clear();
}

void OutputFile::sync() {
  flush();
  if (::fsync(descriptor_) != 0) throw system_error(path_, "cannot write to disk");
}

void OutputFile::close() {
  sync();
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) throw system_error(path_, "cannot close");
}

MappedFile::MappedFile(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw system_error(path, "cannot open");
  struct stat info = {};
  if (::fstat(descriptor, &info) == 0 && info.st_size > 0) {
    size_ = static_cast<size_t>(info.st_size);
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (address == MAP_FAILED) {
      auto error = system_error(path, "cannot map");
      ::close(descriptor);
      throw error;
    }
    data_ = static_cast<const std::byte*>(address);
  }
  ::close(descriptor);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace accordion
