#pragma once

#include <filesystem>
#include <functional>
#include <vector>

namespace accordion {

/// Replaces the folder `path`, or makes it, so that a reader, or an end of the process at any moment, finds the old
/// folder or the new one, whole: `fill` writes into a fresh folder beside it, then every file is fsynced, and the two
/// change names. Where `fill` or anything else throws, what was there stays and nothing else is left behind.
///
/// A link to a folder stays, and what it points to is replaced. What cannot change its name (a mount point, the current
/// folder, a folder in one that is not to be written) is filled from within: the old content is moved aside, the new
/// one takes its place, and an error moves both back. A file system that cannot exchange two names moves the old folder
/// to `path.replaced` first; should the process be killed right then, the next call brings it back.
///
/// UserError where `path` is a file, where another process is writing it, and where somebody else's folder stands where
/// the new one would be written first (`path.partial`).
void write_folder(const std::filesystem::path& path, const std::function<void(const std::filesystem::path&)>& fill);

/// UserError where write_folder(path, ...) would fail at once.
void check_replaceable(const std::filesystem::path& path);

/// What a folder holds beside what an interrupted write_folder left there, and a disk's `lost+found`: what would be
/// lost with it.
std::vector<std::filesystem::path> content_of(const std::filesystem::path& folder);

/// The file in a folder that is being written, or removed, which marks it as ours.
inline constexpr const char* kPartialMark = ".accordion-partial";

}  // namespace accordion
