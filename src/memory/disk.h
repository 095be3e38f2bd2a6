#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "op/torch.h"

namespace accordion::memory {

/// A file whose contents are tensors of the processor, mapped into memory, so that the kernel writes them out and reads
/// them in while the program goes on. It has no name once it is open: whatever ends the process, nothing stays behind.
/// Space is reserved before it is written to: a full disk is a UserError at that moment.
class DiskFile : public std::enable_shared_from_this<DiskFile> {
 public:
  /// In this folder, which is made where it is missing.
  static std::shared_ptr<DiskFile> open(const std::filesystem::path& folder);
  ~DiskFile();
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;

  /// A place in the file that is free again when its last owner goes.
  class Place;
  std::shared_ptr<Place> reserve(int64_t bytes);

  /// The place as a tensor, which holds the place. New places read as zeros, used ones as what was there before.
  torch::Tensor map(const std::shared_ptr<Place>& place, at::IntArrayRef sizes, torch::ScalarType type);

  /// Asks the kernel to read the place soon.
  void read_ahead(const Place& place) const;

 private:
  DiskFile(std::filesystem::path folder, int descriptor) : folder_(std::move(folder)), descriptor_(descriptor) {}
  void release(int64_t offset);

  std::filesystem::path folder_;
  int descriptor_;
  int64_t size_ = 0;
  std::mutex mutex_;
  std::map<int64_t, int64_t> used_;  ///< offset -> bytes
};

class DiskFile::Place {
 public:
  Place(std::shared_ptr<DiskFile> file, int64_t offset, int64_t bytes)
      : file_(std::move(file)), offset_(offset), bytes_(bytes) {}
  ~Place() { file_->release(offset_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  int64_t offset() const { return offset_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<DiskFile> file_;
  int64_t offset_, bytes_;
};

/// Starts writing a mapped tensor to its file and takes it out of the process's memory; its values come back when they
/// are next read. A tensor that is not mapped from a file must not be given.
void page_out(const torch::Tensor& mapped);
/// Asks the kernel to bring a mapped tensor into memory soon.
void page_in(const torch::Tensor& mapped);

}  // namespace accordion::memory
