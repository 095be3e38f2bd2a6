#include "base/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

namespace fs = std::filesystem;

namespace accordion {
namespace {

/// Runs `call(error)` until no signal interrupts it; what it returns, or the UserError.
template <class Call>
auto uninterrupted(const fs::path& path, const char* what, Call call) {
  for (;;) {
    std::error_code error;
    auto result = call(error);
    if (!error) return result;
    if (error.value() != EINTR) throw system_error(path, what, error.value());
  }
}

/// What stat() says; none where nothing is there.
std::optional<struct stat> look(const fs::path& path, bool follow = true) {
  struct stat info = {};
  while ((follow ? ::stat(path.c_str(), &info) : ::lstat(path.c_str(), &info)) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    if (errno != EINTR) throw system_error(path, "cannot look at it", errno);
  }
  return info;
}

template <class Iterator>
std::vector<fs::path> collected(const fs::path& folder) {
  return uninterrupted(folder, "cannot list the folder", [&](std::error_code& error) {
    std::vector<fs::path> found;
    for (Iterator at(folder, error), end; !error && at != end; at.increment(error)) found.push_back(at->path());
    std::sort(found.begin(), found.end());
    return found;
  });
}

/// Without `.`, `..` and links in what exists of it.
fs::path canonical_start(const fs::path& path) {
  return uninterrupted(path, "cannot look at it", [&](std::error_code& error) {
    auto found = fs::weakly_canonical(path, error).lexically_normal();
    if (error.value() == ENOENT && stands(path)) {  // /dev/fd/63: its link names a pipe, which has no path
      error.clear();
      found = path.lexically_normal();
    }
    return found.has_filename() || found == found.root_path() ? found : found.parent_path();
  });
}

}  // namespace

UserError system_error(const fs::path& path, const std::string& what, int error) {
  auto message = path.string() + ": " + what + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) message += "; free some space and run the same command again";
  if (error == EACCES || error == EROFS || error == EPERM) message += "; choose a place that you may use so";
  if (error == ELOOP) message += "; the link leads back to itself: name what it should point to";
  if (error == ENAMETOOLONG) message += "; choose a shorter name";
  if (error == EIO) message += "; check the disk";
  return UserError(message);
}

bool stands(const fs::path& path) { return look(path).has_value(); }
bool is_folder(const fs::path& path) {
  const auto info = look(path);
  return info && S_ISDIR(info->st_mode);
}
bool is_file(const fs::path& path) {
  const auto info = look(path);
  return info && S_ISREG(info->st_mode);
}
bool is_link(const fs::path& path) {
  const auto info = look(path, false);
  return info && S_ISLNK(info->st_mode);
}
fs::path read_link(const fs::path& link) {
  return uninterrupted(link, "cannot read the link",
                       [&](std::error_code& error) { return fs::read_symlink(link, error); });
}
uint64_t bytes_of(const fs::path& path) {
  const auto info = look(path);
  if (!info) throw system_error(path, "cannot look at it", ENOENT);
  return S_ISREG(info->st_mode) ? static_cast<uint64_t>(info->st_size) : 0;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  return is_folder(folder) ? collected<fs::directory_iterator>(folder) : std::vector<fs::path>();
}

std::vector<fs::path> all_below(const fs::path& folder) { return collected<fs::recursive_directory_iterator>(folder); }

std::vector<fs::path> make_folders(const fs::path& folder) {
  std::vector<fs::path> missing;
  for (auto at = resolved(folder); !stands(at); at = at.parent_path()) missing.insert(missing.begin(), at);
  std::vector<fs::path> made;
  try {
    for (const auto& path : missing) {
      if (uninterrupted(path, "cannot create the folder",
                        [&](std::error_code& error) { return fs::create_directory(path, error); }))
        made.push_back(path);
    }
    // `none/..` is no folder, although its spelling without dots is one.
    if (!is_folder(folder)) throw system_error(folder, "cannot create the folder", stands(folder) ? ENOTDIR : ENOENT);
  } catch (...) {
    remove_empty(made);
    throw;
  }
  return made;
}

void remove_empty(const std::vector<fs::path>& folders) noexcept {
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder)
    while (::rmdir(folder->c_str()) != 0 && errno == EINTR) {
    }
}

void remove_tree(const fs::path& path) {
  uninterrupted(path, "cannot remove it", [&](std::error_code& error) { return fs::remove_all(path, error); });
}

void remove_file(const fs::path& path) {
  while (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return;
    if (errno != EINTR) throw system_error(path, "cannot remove it", errno);
  }
}

void rename_path(const fs::path& from, const fs::path& to) {
  while (::rename(from.c_str(), to.c_str()) != 0)
    if (errno != EINTR) throw system_error(to, "cannot create it", errno);
}

fs::path resolved(const fs::path& path) {
  if (path.empty()) throw UserError("an empty path: name a file or folder");
  const auto whole =
      path.is_absolute() ? path : uninterrupted(path, "the current folder is gone", [&](std::error_code& error) {
        return fs::current_path(error) / path;
      });
  auto found = canonical_start(whole);
  constexpr int kMostLinks = 40;                  // as many as Linux follows
  for (int links = 0; is_link(found); ++links) {  // a link to nothing: to what will be made through it
    if (links == kMostLinks) throw system_error(path, "cannot look at it", ELOOP);
    found = canonical_start(found.parent_path() / read_link(found));
  }
  return found;
}

}  // namespace accordion
