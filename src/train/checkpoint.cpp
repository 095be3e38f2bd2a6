#include "train/checkpoint.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

const char* const kState = "trainer/state.json";
const char* const kCheck = "crc32";  // of the state itself

uint32_t checksum(const fs::path& path) {
  MappedFile file(path);
  constexpr size_t kPiece = size_t{1} << 30;  // crc32 takes 32-bit sizes
  uLong sum = crc32(0, nullptr, 0);
  for (size_t at = 0; at < file.size(); at += kPiece)
    sum = crc32(sum, reinterpret_cast<const Bytef*>(file.data() + at),
                static_cast<uInt>(std::min(kPiece, file.size() - at)));
  return static_cast<uint32_t>(sum);
}

nlohmann::json inventory(const fs::path& folder) {
  auto files = nlohmann::json::object();
  for (const auto& path : all_below(folder)) {
    if (!is_file(path) || path.filename() == kPartialMark) continue;
    files[path.lexically_relative(folder).string()] = {{"bytes", bytes_of(path)}, {"crc32", checksum(path)}};
  }
  return files;
}

/// Of a state without its own checksum, as text.
uint32_t state_checksum(const nlohmann::json& state) {
  const auto text = json_text(state);
  return static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

/// What is wrong with the checkpoint, or "" where it is whole; its state goes to `state`.
std::string damage(const fs::path& folder, nlohmann::json& state) {
  state = nlohmann::json::parse(stands(folder / kState) ? read_file(folder / kState) : "", nullptr, false);
  if (!state.is_object() || !state.contains("files")) return std::string(kState) + " is missing or unreadable";
  if (const auto check = state.find(kCheck); check != state.end()) {  // version 0.1 wrote none
    const auto written = *check;
    state.erase(check);
    if (written != state_checksum(state)) return std::string(kState) + " is not what was written";
  }
  for (const auto& [name, entry] : state["files"].items()) {
    const auto path = folder / name;
    if (!stands(path)) return name + " is missing";
    if (bytes_of(path) != entry["bytes"].get<uint64_t>()) return name + " has another size than was written";
    if (checksum(path) != entry["crc32"].get<uint32_t>()) return name + " is not what was written";
  }
  return "";
}

/// Folders step-N of the run, newest first. What an interrupted save left beside them is removed.
std::vector<std::pair<int64_t, fs::path>> list(const fs::path& folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  for (const auto& path : entries_of(folder)) {
    const auto name = path.filename().string();
    if (name.ends_with(".partial")) remove_tree(path);
    if (!name.ends_with(".replaced")) continue;
    const auto replaced = folder / path.stem();  // by a checkpoint of the same step, unless a kill came in between
    stands(replaced) ? remove_tree(path) : rename_path(path, replaced);
  }
  for (const auto& path : entries_of(folder)) {
    const auto name = path.filename().string();
    if (!name.starts_with("step-") || name.find_first_not_of("0123456789", 5) != std::string::npos || name.size() > 20)
      continue;
    found.emplace_back(std::stoll("0" + name.substr(5)), path);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

}  // namespace

Checkpoints::Checkpoints(fs::path run, int64_t keep) : folder_(std::move(run) / "checkpoints"), keep_(keep) {}

void Checkpoints::save(int64_t step, nlohmann::json state, const std::function<void(const fs::path&)>& fill) {
  const auto folder = folder_ / ("step-" + std::to_string(step));
  write_folder(folder, [&](const fs::path& partial) {
    make_folders(partial / "trainer");
    fill(partial);
    state["files"] = inventory(partial);
    state[kCheck] = state_checksum(state);
    write_file(partial / kState, json_text(state, 1) + "\n");
  });
  point_latest(folder);
  const auto all = list(folder_);
  for (size_t i = static_cast<size_t>(keep_); i < all.size(); ++i) remove_tree(all[i].second);
}

void Checkpoints::point_latest(const fs::path& folder) const {
  const auto latest = folder_ / "latest", partial = folder_ / "latest.partial";
  if (is_folder(latest) && !is_link(latest))
    remove_tree(latest);  // a copied run folder may hold a copy of what it names
  remove_tree(partial);
  while (::symlink(folder.filename().c_str(), partial.c_str()) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EIO) throw system_error(latest, "cannot create it", errno);
    remove_tree(latest);  // a file system without links: a file that holds the name
    return write_file(latest, folder.filename().string() + "\n");
  }
  rename_path(partial, latest);
}

std::optional<Checkpoints::Found> Checkpoints::newest(const std::function<void(const std::string&)>& warn) {
  const auto all = list(folder_);
  for (size_t i = 0; i < all.size(); ++i) {
    Found found{all[i].second, {}};
    const auto wrong = damage(found.folder, found.state);
    if (wrong.empty()) {
      point_latest(found.folder);
      for (size_t newer = 0; newer < i; ++newer) remove_tree(all[newer].second);
      return found;
    }
    warn(found.folder.string() + " is damaged (" + wrong + ")" +
         (i + 1 < all.size() ? "; going back to the one before" : ""));
  }
  if (!all.empty()) throw UserError(folder_.string() + ": every checkpoint is damaged; start anew with --fresh");
  return std::nullopt;
}

}  // namespace accordion
