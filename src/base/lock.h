#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace accordion {

/// A file that one process at a time can hold: flock(2), which ends with the process, however that ends. The file names
/// its holder while it is held, and is removed afterwards; one that a killed process left says nothing.
class FileLock {
 public:
  /// Takes the lock of the file `path`, which is made where it is missing; its folder must exist. `what` says in the
  /// UserError of a lock that another process holds what that one is doing.
  FileLock(std::filesystem::path path, const std::string& what);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Whether the file system has locks; where it has none, nobody is kept out.
  bool holds() const { return holds_; }

 private:
  bool take();
  bool is_the_one_there() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool holds_ = true;
};

}  // namespace accordion
