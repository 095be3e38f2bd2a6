#include "base/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/lock.h"
#include "base/paths.h"

namespace fs = std::filesystem;
using testing::HasSubstr;

namespace accordion {
namespace {

class Folders : public testing::Test {
 protected:
  Folders() : at(fs::path(testing::TempDir()) / ("folders-" + std::to_string(getpid()))), here(fs::current_path()) {
    fs::remove_all(at);
    fs::create_directories(at);
    write("old", at / "mine");
  }
  ~Folders() override {
    fs::current_path(here);
    fs::remove_all(at);
  }

  static void write(const std::string& name, const fs::path& to) {
    write_folder(to, [&](const fs::path& folder) {
      make_folders(folder / "below");
      write_file(folder / "below" / name, name);
      write_file(folder / "content", name);
    });
  }
  /// Whether exactly what write() makes stands there.
  static testing::AssertionResult holds(const fs::path& folder, const std::string& name) {
    std::vector<fs::path> wanted{folder / "below", folder / "below" / name, folder / "content"};
    if (all_below(folder) != wanted) return testing::AssertionFailure() << testing::PrintToString(all_below(folder));
    return read_file(folder / "content") == name ? testing::AssertionSuccess()
                                                 : testing::AssertionFailure() << "content";
  }
  static std::string refusal(const std::function<void()>& attempt) {
    try {
      attempt();
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  fs::path at, here;
};

TEST_F(Folders, EverySpellingOfAPathIsTheSameFolder) {
  fs::create_directory_symlink("mine", at / "link");
  fs::create_directories(at / "a");
  int number = 0;
  for (const std::string spelling : {"mine/", "mine//", "./mine", "mine/.", "mine/./", "a/../mine", "none/../mine/",
                                     "link", "link/", "link/.", "a/../link"}) {
    for (const bool relative : {false, true}) {
      fs::current_path(relative ? at : here);
      const auto name = "new" + std::to_string(++number);
      write(name, (relative ? "" : at.string() + "/") + spelling);
      EXPECT_TRUE(holds(at / "mine", name)) << spelling;
      EXPECT_EQ(entries_of(at), (std::vector<fs::path>{at / "a", at / "link", at / "mine"})) << spelling;
      EXPECT_EQ(fs::read_symlink(at / "link"), "mine");
    }
  }
}

TEST_F(Folders, OddNamesAreNames) {
  for (const std::string name : {"with space", "two\nlines", "\xFF\xFE", "-o", "a.partial"}) {
    write("x", at / name / "");
    write("y", at / name);
    EXPECT_TRUE(holds(at / name, "y")) << name;
  }
}

TEST_F(Folders, ALinkToNothingStandsForWhatItPointsTo) {
  fs::create_directory_symlink("far/away", at / "link");
  write("new", at / "link");
  EXPECT_TRUE(fs::is_symlink(at / "link"));
  EXPECT_TRUE(holds(at / "far/away", "new"));
}

TEST_F(Folders, TheCurrentFolderIsFilledFromWithin) {
  fs::current_path(at / "mine");
  write("new", ".");
  EXPECT_TRUE(holds(".", "new")) << "whoever stands in it sees the new content";
  EXPECT_TRUE(holds(at / "mine", "new"));
  EXPECT_EQ(entries_of(at).size(), 1u);
  EXPECT_THROW(write_folder(".", [](const fs::path&) { throw UserError("disk full"); }), UserError);
  EXPECT_TRUE(holds(at / "mine", "new"));
}

TEST_F(Folders, AMountPointIsFilledFromWithin) {
  fs::create_directories(at / "mount");
  if (::mount("none", (at / "mount").c_str(), "tmpfs", 0, nullptr) != 0) GTEST_SKIP() << "needs root";
  fs::create_directories(at / "mount/lost+found");
  write("new", at / "mount/");
  EXPECT_EQ(content_of(at / "mount"), (std::vector<fs::path>{at / "mount/below", at / "mount/content"}));
  write("newer", at / "mount");
  EXPECT_EQ(read_file(at / "mount/content"), "newer");
  EXPECT_FALSE(stands(at / "mount/below/new"));
  EXPECT_TRUE(fs::exists(at / "mount/lost+found"));
  ::umount((at / "mount").c_str());
}

TEST_F(Folders, ABindMountIsAMountPoint) {
  fs::create_directories(at / "mount");
  fs::create_directories(at / "source");
  if (::mount((at / "source").c_str(), (at / "mount").c_str(), nullptr, MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "needs root";
  write("new", at / "mount");
  ::umount((at / "mount").c_str());
  EXPECT_TRUE(holds(at / "source", "new"));
}

TEST_F(Folders, WhatAnInterruptedReplacementMovedAsideIsNotLost) {
  fs::current_path(at / "mine");
  fs::create_directories("accordion.replaced");
  std::ofstream("accordion.replaced/content") << "precious";
  EXPECT_THAT(refusal([] { write("new", "."); }),
              HasSubstr("accordion.replaced: holds what an interrupted replacement"));
  EXPECT_EQ(read_file("accordion.replaced/content"), "precious");
}

TEST_F(Folders, WhatSomebodyElseNamedSoStays) {
  fs::create_directories(at / "mine.partial");
  std::ofstream(at / "mine.partial/precious") << "yes";
  EXPECT_THAT(refusal([&] { write("new", at / "mine"); }), HasSubstr("mine.partial: is in the way"));
  EXPECT_EQ(read_file(at / "mine.partial/precious"), "yes");
  EXPECT_TRUE(holds(at / "mine", "old"));
  std::ofstream(at / "file") << "yes";
  EXPECT_THAT(refusal([&] { write("new", at / "file"); }), HasSubstr("file: is a file; name a folder"));
  EXPECT_EQ(read_file(at / "file"), "yes");
}

TEST_F(Folders, WhatAKillLeftIsReplaced) {
  fs::create_directories(at / "mine.partial/half");
  std::ofstream(at / "mine.partial" / kPartialMark) << "process 1\n";
  write("new", at / "mine");
  EXPECT_TRUE(holds(at / "mine", "new"));
  EXPECT_EQ(entries_of(at).size(), 1u);
}

TEST_F(Folders, TwoDoNotWriteOneFolder) {
  std::string second;
  write_folder(at / "mine", [&](const fs::path& folder) {
    second = refusal([&] { write("second", at / "mine"); });
    make_folders(folder / "below");
    write_file(folder / "below/first", "first");
    write_file(folder / "content", "first");
  });
  EXPECT_THAT(second, HasSubstr("another process is writing it (process " + std::to_string(getpid())));
  EXPECT_TRUE(holds(at / "mine", "first"));
}

TEST_F(Folders, AFailureLeavesNoFolderThatWasNotThere) {
  EXPECT_THROW(write_folder(at / "deep/down/x", [](const fs::path&) { throw UserError("disk full"); }), UserError);
  EXPECT_EQ(entries_of(at).size(), 1u);
}

TEST_F(Folders, ALockGoesWithItsHolder) {
  const auto path = at / "lock";
  {
    const FileLock lock(path, "busy");
    EXPECT_TRUE(lock.holds());
    EXPECT_THAT(refusal([&] { const FileLock again(path, "busy"); }),
                HasSubstr(": busy (process " + std::to_string(getpid())));
  }
  EXPECT_FALSE(stands(path));
  std::ofstream(path) << "process 1\n";  // as a kill leaves it
  const FileLock lock(path, "busy");
}

}  // namespace
}  // namespace accordion
