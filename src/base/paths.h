#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

/// What the program asks of the file system. Every function follows links unless it says otherwise, makes a call that a
/// signal interrupted again, and throws a UserError that names the path and the reason where the file system refuses.
/// No function of std::filesystem that throws is called outside of this folder.
namespace accordion {

/// The UserError for `error` (an errno): the path, what could not be done, why, and what helps where that is known.
UserError system_error(const std::filesystem::path& path, const std::string& what, int error);

bool stands(const std::filesystem::path& path);                      ///< something is there
bool is_folder(const std::filesystem::path& path);                   ///< a folder, or a link to one
bool is_file(const std::filesystem::path& path);                     ///< a regular file, or a link to one
bool is_link(const std::filesystem::path& path);                     ///< a symbolic link, whatever it points to
std::filesystem::path read_link(const std::filesystem::path& link);  ///< what a link says, as it stands there
/// Bytes of a regular file; 0 of a pipe, whose size nobody knows.
uint64_t bytes_of(const std::filesystem::path& path);

/// What lies in a folder, sorted by name; nothing where there is no such folder.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);
/// Files and folders below a folder, at any depth; links are not followed.
std::vector<std::filesystem::path> all_below(const std::filesystem::path& folder);

/// Makes the folder and those that it lies in, where they are missing; returns the ones made, outermost first.
std::vector<std::filesystem::path> make_folders(const std::filesystem::path& folder);
/// Removes those of the folders, innermost first, in which nothing lies; what make_folders() made and nobody used.
void remove_empty(const std::vector<std::filesystem::path>& folders) noexcept;
/// Removes what stands there, with all that it holds; a link itself, not what it points to. Nothing may be there.
void remove_tree(const std::filesystem::path& path);
/// Removes a file, or a link itself. Nothing may be there; UserError for a folder.
void remove_file(const std::filesystem::path& path);
/// Gives `from` the name `to`; replaces a file, link or empty folder of that name.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

/// The one absolute spelling of a path: without links, `.`, `..` and a slash at the end. Parts that do not exist yet
/// stay as they are written; a link to nothing stands for what it points to. UserError for an empty path, and for a
/// link that leads back to itself.
std::filesystem::path resolved(const std::filesystem::path& path);

}  // namespace accordion
