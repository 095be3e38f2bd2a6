#include "memory/disk.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/paths.h"
#include "base/text.h"

namespace fs = std::filesystem;

namespace accordion::memory {
namespace {

constexpr int64_t kPage = 4096;

int64_t whole_pages(int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

UserError failure(const fs::path& folder, const std::string& what, int error) {
  return UserError("memory.offload.path: " + folder.string() + ": " + what + ": " + std::strerror(error));
}

}  // namespace

std::shared_ptr<DiskFile> DiskFile::open(const fs::path& folder) {
  try {
    make_folders(folder);
  } catch (const UserError& error) {
    throw UserError("memory.offload.path: " + std::string(error.what()));
  }
  const std::string pattern = (folder / "accordion-offload-XXXXXX").string();
  std::string name;
  int descriptor = -1;
  do {
    name = pattern;
    descriptor = mkostemp(name.data(), O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) throw failure(folder, "no file can be made there; name another folder", errno);
  remove_file(name);
  return std::shared_ptr<DiskFile>(new DiskFile(folder, descriptor));
}

DiskFile::~DiskFile() { close(descriptor_); }

std::shared_ptr<DiskFile::Place> DiskFile::reserve(int64_t bytes) {
  bytes = whole_pages(std::max<int64_t>(bytes, 1));
  const std::lock_guard lock(mutex_);
  int64_t offset = 0;  // the first gap that is large enough
  for (const auto& [begin, length] : used_) {
    if (begin - offset >= bytes) break;
    offset = begin + length;
  }
  if (offset + bytes > size_) {
    int error = 0;
    do {
      error = posix_fallocate(descriptor_, size_, offset + bytes - size_);
    } while (error == EINTR);
    if (error != 0)
      throw failure(folder_,
                    "no room for " + format_bytes(static_cast<double>(offset + bytes)) +
                        "; free some, or name a folder on a larger disk",
                    error);
    size_ = offset + bytes;
  }
  used_[offset] = bytes;
  return std::make_shared<Place>(shared_from_this(), offset, bytes);
}

void DiskFile::release(int64_t offset) {
  const std::lock_guard lock(mutex_);
  used_.erase(offset);
}

torch::Tensor DiskFile::map(const std::shared_ptr<Place>& place, at::IntArrayRef sizes, torch::ScalarType type) {
  void* memory = mmap(nullptr, static_cast<size_t>(place->bytes()), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_,
                      place->offset());
  if (memory == MAP_FAILED) throw failure(folder_, "a file cannot be mapped", errno);
  const auto release = [place](void* mapped) { munmap(mapped, static_cast<size_t>(place->bytes())); };
  return torch::from_blob(memory, sizes, release, torch::dtype(type));
}

void DiskFile::read_ahead(const Place& place) const {
  posix_fadvise(descriptor_, place.offset(), place.bytes(), POSIX_FADV_WILLNEED);
}

void page_out(const torch::Tensor& mapped) {
  void* begin = mapped.mutable_data_ptr();
  const auto bytes = static_cast<size_t>(whole_pages(static_cast<int64_t>(mapped.nbytes())));
  msync(begin, bytes, MS_ASYNC);
  madvise(begin, bytes, MADV_DONTNEED);  // of a shared mapping: the values stay in the file's pages
}

void page_in(const torch::Tensor& mapped) {
  madvise(mapped.mutable_data_ptr(), static_cast<size_t>(whole_pages(static_cast<int64_t>(mapped.nbytes()))),
          MADV_WILLNEED);
}

}  // namespace accordion::memory
