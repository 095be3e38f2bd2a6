#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"

namespace accordion {

/// CRC-32C (Castagnoli) of `data`. Source: RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view data);

/// A TensorBoard event file, `events.out.tfevents.*`: TFRecord frames around `Event` messages of
/// tensorflow/core/util/event.proto, of which scalars and the start of a session are written.
class EventFile {
 public:
  /// Opens a new file in `folder` that sorts behind every event file there, and says in it that a session starts at
  /// `step`: TensorBoard forgets what earlier files hold of this and later steps.
  EventFile(const std::filesystem::path& folder, int64_t step);
  /// Points of one step. Handed to the operating system before it returns.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void sync() { file_.sync(); }

 private:
  void record(const std::string& event);
  OutputFile file_;
};

}  // namespace accordion
