#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "base/lock.h"

namespace accordion {

/// A run folder that this process alone trains in: makes it where it is missing, and holds the lock of its file
/// `.lock`, which ends with the process. UserError where another process trains there. A file system without locks
/// keeps nobody out, which is said once. A folder that was made and in which nothing was written goes again.
class RunFolder {
 public:
  explicit RunFolder(const std::filesystem::path& run);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

 private:
  std::vector<std::filesystem::path> made_;
  std::optional<FileLock> lock_;
};

}  // namespace accordion
