#include "base/folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/lock.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr const char* kInside = "accordion.partial";  // where a folder is filled from within
constexpr const char* kAside = "accordion.replaced";  // and where its old content waits meanwhile

fs::path with(const fs::path& path, const char* ending) { return path.string() + ending; }

bool is_marked(const fs::path& folder) { return stands(folder / kPartialMark); }

/// Removes what stays behind and can do no harm. Where it cannot be removed (a file that is open elsewhere, over NFS)
/// it is left for the next call: the mark goes last.
void remove_leftover(const fs::path& folder) noexcept try {
  for (const auto& entry : entries_of(folder))
    if (entry.filename() != kPartialMark) remove_tree(entry);
  remove_tree(folder);
} catch (const UserError&) {
}

/// The folder that is filled: made and marked as ours, locked, and gone again unless it was put in place.
class PartialFolder {
 public:
  explicit PartialFolder(fs::path path) : path_(std::move(path)) {
    if (is_link(path_) || (stands(path_) && !(is_folder(path_) && (is_marked(path_) || entries_of(path_).empty()))))
      throw UserError(path_.string() + ": is in the way, for the new folder is written there first; move it elsewhere");
    if (is_marked(path_)) {  // what a killed process left, unless there is one at work
      const FileLock unused(path_ / kPartialMark, kBusy);
      remove_tree(path_);
    }
    made_ = make_folders(path_);
    if (made_.empty()) made_.push_back(path_);
    try {
      lock_.emplace(path_ / kPartialMark, kBusy);
    } catch (...) {
      remove();
      throw;
    }
  }
  ~PartialFolder() {
    if (!placed_) remove();
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const fs::path& path() const { return path_; }
  void placed() { placed_ = true; }

 private:
  static constexpr const char* kBusy = "another process is writing it";

  void remove() noexcept {
    remove_leftover(path_);
    lock_.reset();
    remove_empty(made_);
  }

  fs::path path_;
  std::vector<fs::path> made_;
  std::optional<FileLock> lock_;
  bool placed_ = false;
};

/// Whether something is mounted there, bind mounts included.
bool is_mount_point(const fs::path& folder) {
  struct statx info = {};
  if (::statx(AT_FDCWD, folder.c_str(), 0, STATX_BASIC_STATS, &info) == 0 &&
      (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
    return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  struct stat mine = {}, parents = {};  // a kernel before 5.8
  return ::stat(folder.c_str(), &mine) == 0 && ::stat(folder.parent_path().c_str(), &parents) == 0 &&
         (mine.st_dev != parents.st_dev || mine.st_ino == parents.st_ino);
}

/// Whether a folder that is there can only be changed from within.
bool keeps_its_name(const fs::path& folder) {
  return folder == resolved(".") || is_mount_point(folder) || ::access(folder.parent_path().c_str(), W_OK | X_OK) != 0;
}

/// Moves the old content of `folder` to a folder in it, and the new one from `partial` to its place. Old and new never
/// stand there together; an error moves all back.
void replace_from_within(const fs::path& partial, const fs::path& folder) {
  const auto aside = folder / kAside;
  std::vector<std::pair<fs::path, fs::path>> moved;
  const auto move = [&](const std::vector<fs::path>& entries, const fs::path& to) {
    for (const auto& entry : entries) {
      rename_path(entry, to / entry.filename());
      moved.emplace_back(entry, to / entry.filename());
    }
  };
  try {
    make_folders(aside);
    move(content_of(folder), aside);
    auto entries = entries_of(partial);
    std::erase(entries, partial / kPartialMark);
    move(entries, folder);
  } catch (...) {
    for (auto pair = moved.rbegin(); pair != moved.rend(); ++pair) ::rename(pair->second.c_str(), pair->first.c_str());
    remove_empty({aside});
    throw;
  }
  remove_leftover(aside);
}

/// Gives `partial` the name of `folder`, which is there; returns where the old one stands now.
fs::path exchange(const fs::path& partial, const fs::path& folder) {
  int result = 0;
  do {
    result = ::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return partial;
  const auto replaced = with(folder, ".replaced");  // a file system that cannot
  if (stands(replaced) && !is_marked(replaced))
    throw UserError(replaced.string() + ": is in the way, for the old folder is moved there first; move it elsewhere");
  remove_leftover(replaced);
  rename_path(folder, replaced);
  try {
    rename_path(partial, folder);
  } catch (...) {
    ::rename(replaced.c_str(), folder.c_str());
    throw;
  }
  return replaced;
}

/// Gives the folder `partial` the name `folder`. What had the name goes only when the new one stands under it.
void put_in_place(const fs::path& partial, const fs::path& folder) {
  if (!stands(folder)) return rename_path(partial, folder);
  const auto mark = folder / kPartialMark;  // so that what is left of it can be told from somebody's folder
  try {
    OutputFile(mark).close();
    const auto old = exchange(partial, folder);
    remove_leftover(old);
  } catch (...) {
    remove_leftover(mark);
    throw;
  }
}

/// What a kill between the two moves of exchange() left.
void bring_back(const fs::path& folder) {
  const auto replaced = with(folder, ".replaced");
  if (!stands(folder) && is_folder(replaced) && is_marked(replaced)) rename_path(replaced, folder);
}

/// Where a folder is to stand, and how its new content gets there.
struct Place {
  fs::path folder;
  bool within;
  fs::path partial() const { return within ? folder / kInside : with(folder, ".partial"); }
};

Place place_of(const fs::path& path) {
  const auto folder = resolved(path);
  bring_back(folder);
  if (stands(folder) && !is_folder(folder)) throw UserError(path.string() + ": is a file; name a folder");
  const bool within = is_folder(folder) && keeps_its_name(folder);
  if (within && stands(folder / kAside))
    throw UserError((folder / kAside).string() +
                    ": holds what an interrupted replacement moved aside; move it back, or remove it");
  return {folder, within};
}

}  // namespace

void check_replaceable(const fs::path& path) { const PartialFolder partial(place_of(path).partial()); }

void write_folder(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const auto place = place_of(path);
  const auto& folder = place.folder;
  PartialFolder partial(place.partial());
  fill(partial.path());
  for (const auto& entry : all_below(partial.path())) sync_path(entry);
  sync_path(partial.path());
  if (place.within) {
    replace_from_within(partial.path(), folder);
    sync_path(folder);
    return;  // the emptied one goes
  }
  put_in_place(partial.path(), folder);
  partial.placed();
  remove_file(folder / kPartialMark);
  sync_path(folder.parent_path());
}

std::vector<fs::path> content_of(const fs::path& folder) {
  auto entries = entries_of(folder);
  std::erase_if(entries, [&](const fs::path& entry) {
    const auto name = entry.filename();
    return name == kInside || name == kAside || name == kPartialMark || name == "lost+found";
  });
  return entries;
}

}  // namespace accordion
