#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <utility>

#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;

/// open(2); UserError.
int opened(const fs::path& path, int flags, const char* what) {
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) throw system_error(path, what, errno);
  return descriptor;
}

/// A descriptor that is closed whatever happens.
struct Input {
  fs::path path;
  int descriptor;
  explicit Input(const fs::path& from) : path(from), descriptor(opened(from, O_RDONLY, "cannot open")) {}
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() { ::close(descriptor); }

  struct stat info() const {
    struct stat info = {};
    while (::fstat(descriptor, &info) != 0)
      if (errno != EINTR) throw system_error(path, "cannot look at it", errno);
    return info;
  }
  std::string rest() const {
    std::string content;
    for (;;) {
      const size_t before = content.size();
      content.resize(before + kBuffer);
      const ssize_t got = ::read(descriptor, content.data() + before, kBuffer);
      const int error = errno;
      content.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
      if (got == 0) return content;
      if (got < 0 && error != EINTR) throw system_error(path, "cannot read", error);
    }
  }
};

/// 0, or the errno; a file system that cannot sync has nothing to wait for.
int sync_descriptor(int descriptor) {
  while (::fsync(descriptor) != 0) {
    if (errno == EINVAL || errno == ENOTSUP || errno == ENOSYS) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

/// Whether there is nothing to replace: a pipe, a device, or another process's descriptor (/dev/stdout).
bool is_written_as_it_is(const fs::path& path) {
  if (!stands(path)) return false;
  for (auto link = path; is_link(link); link = link.parent_path() / read_link(link))
    if (resolved(link.parent_path() / ".").string().starts_with("/proc/")) return true;
  return !is_file(path) && !is_folder(path);
}

/// Where the file `path` is made: not through a link, and not where a folder stands.
fs::path place_of(const fs::path& path) {
  const auto place = resolved(path);
  if (is_folder(place) || !path.has_filename()) throw UserError(path.string() + ": is a folder; name a file");
  return place;
}

fs::path beside(const fs::path& path) { return path.string() + ".partial"; }

/// A file made anew: never one that a link points to.
OutputFile fresh(const fs::path& path) {
  remove_file(path);
  return OutputFile(path);
}

}  // namespace

std::string read_file(const fs::path& path) {
  check_has_end(path);
  return Input(path).rest();
}

void check_has_end(const fs::path& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || !(S_ISBLK(info.st_mode) || S_ISCHR(info.st_mode))) return;
  const bool null = S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
  if (!null && ::isatty(Input(path).descriptor) == 0) throw UserError(path.string() + ": is a device; name a file");
}

void write_file(const fs::path& path, std::string_view content) {
  if (is_written_as_it_is(path)) {
    OutputFile file(path, /*append=*/true);
    file.write(content);
    return file.close();
  }
  const auto place = place_of(path), partial = beside(place);
  try {
    auto file = fresh(partial);
    file.write(content);
    file.close();
    rename_path(partial, place);
  } catch (...) {
    ::unlink(partial.c_str());
    throw;
  }
  sync_path(place.parent_path());
}

void check_writable(const fs::path& path) {
  if (is_written_as_it_is(path)) return;
  const auto partial = beside(place_of(path));
  fresh(partial).close();
  remove_file(partial);
}

void sync_path(const fs::path& path) {
  const Input input(path);
  if (const int error = sync_descriptor(input.descriptor); error != 0)
    throw system_error(path, "cannot write to disk", error);
}

void cut_file(const fs::path& path, uint64_t bytes) {
  while (::truncate(path.c_str(), static_cast<off_t>(bytes)) != 0)
    if (errno != EINTR) throw system_error(path, "cannot cut the file", errno);
}

OutputFile::OutputFile(fs::path path, bool append) : path_(std::move(path)) {
  descriptor_ = opened(path_, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), "cannot write");
  if (append) size_ = bytes_of(path_);
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
      auto error = system_error(path_, "cannot write", errno);
      buffer_.clear();  // a destructor that follows must not try again
      throw error;
    }
    done += static_cast<size_t>(got);
  }
  buffer_.clear();
}

void OutputFile::sync() {
  flush();
  if (const int error = sync_descriptor(descriptor_); error != 0)
    throw system_error(path_, "cannot write to disk", error);
}

void OutputFile::close() {
  sync();
  const int descriptor = std::exchange(descriptor_, -1);
  // All is on the disk: an interrupted close is one.
  if (::close(descriptor) != 0 && errno != EINTR) throw system_error(path_, "cannot close", errno);
}

MappedFile::MappedFile(const fs::path& path) {
  const Input input(path);
  const auto info = input.info();
  if (S_ISREG(info.st_mode) && info.st_size > 0) {
    size_ = static_cast<size_t>(info.st_size);
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, input.descriptor, 0);
    if (address != MAP_FAILED) {
      data_ = static_cast<const std::byte*>(address);
      return;
    }
  }
  try {
    read_ = input.rest();
  } catch (const std::bad_alloc&) {
    throw UserError(path.string() +
                    ": cannot be mapped into memory, and is too large to be read into it; copy it to "
                    "another file system");
  }
  size_ = read_.size();
}

MappedFile::MappedFile(MappedFile&& other) noexcept : MappedFile() { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(read_, other.read_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace accordion
