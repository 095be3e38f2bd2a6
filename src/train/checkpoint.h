#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

namespace accordion {

/// The checkpoints of a run folder: `checkpoints/step-N/` is a Hugging Face model directory with a folder `trainer/`
/// for what resuming needs; `checkpoints/latest` is a link to the newest, or a file that holds its name where the file
/// system has no links. A checkpoint appears whole or not at all: it is written beside, synced and renamed, and
/// `trainer/state.json` holds the size and CRC-32 of every file.
class Checkpoints {
 public:
  Checkpoints(std::filesystem::path run, int64_t keep);

  /// Writes the checkpoint of `step`: `fill` writes the model and trainer/ files into the folder it is given, `state`
  /// is kept as trainer/state.json. Then moves `latest` and removes all but the newest `keep`. A UserError (full disk)
  /// leaves the earlier checkpoints as they were.
  void save(int64_t step, nlohmann::json state, const std::function<void(const std::filesystem::path&)>& fill);

  struct Found {
    std::filesystem::path folder;
    nlohmann::json state;
  };
  /// The newest checkpoint whose files are as they were written. Calls `warn` for each newer one that is damaged, and
  /// removes it. None where there is none; UserError where all are damaged.
  std::optional<Found> newest(const std::function<void(const std::string&)>& warn);

 private:
  void point_latest(const std::filesystem::path& folder) const;

  std::filesystem::path folder_;
  int64_t keep_;
};

}  // namespace accordion
