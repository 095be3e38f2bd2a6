#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "op/torch.h"

namespace accordion {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// Writes tensors in the given order (any of f64, f32, bf16, f16, int64, int32, int16, int8, uint8, bool; any device;
/// made contiguous one at a time) and `metadata` into one safetensors file, flushed to the disk. Not atomic by itself:
/// call it within write_folder(). UserError where the disk is full or the folder cannot be written.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// A memory-mapped safetensors file, checked whole when it is opened: UserError that names the file where it is cut
/// off, its header is damaged, or ranges do not fit the shapes. https://github.com/huggingface/safetensors, "Format".
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<std::string>& names() const { return names_; }  ///< in the order of their bytes in the file
  bool contains(const std::string& name) const { return entries_.count(name) != 0; }
  std::vector<int64_t> shape(const std::string& name) const;
  /// A copy in memory of its own, aligned as libtorch aligns (results of GEMMs can depend on it).
  torch::Tensor tensor(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    torch::Dtype dtype;
    std::vector<int64_t> shape;
    size_t begin, end;  // bytes from the end of the header
  };
  const Entry& entry(const std::string& name) const;

  std::filesystem::path path_;
  MappedFile file_;
  size_t data_begin_ = 0;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// All tensors of a file, copied, in the order of the file.
NamedTensors read_safetensors(const std::filesystem::path& path);

}  // namespace accordion
