#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/folder.h"
#include "base/paths.h"

namespace fs = std::filesystem;
using testing::HasSubstr;

namespace accordion {
namespace {

class Files : public testing::Test {
 protected:
  Files() : folder(fs::path(testing::TempDir()) / ("files-" + std::to_string(getpid()))) {
    fs::create_directories(folder);
  }
  ~Files() override { fs::remove_all(folder); }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  fs::path folder;
};

std::string message_of(const std::function<void()>& attempt) {
  try {
    attempt();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST_F(Files, AFileIsReplacedWhole) {
  write_file(folder / "a", "old");
  write_file(folder / "a", std::string(3 << 20, 'x'));
  EXPECT_EQ(read_file(folder / "a"), std::string(3 << 20, 'x'));
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, AFolderIsReplacedWhole) {
  const auto fill = [](const char* name) { return [=](const fs::path& place) { write_file(place / name, name); }; };
  write_folder(folder / "f", fill("first"));
  write_folder(folder / "f", fill("second"));
  EXPECT_FALSE(fs::exists(folder / "f/first"));
  EXPECT_EQ(read_file(folder / "f/second"), "second");
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
}

TEST_F(Files, AFailedWriteLeavesWhatWasThere) {
  write_folder(folder / "f", [](const fs::path& place) { write_file(place / "kept", "yes"); });
  EXPECT_THROW(write_folder(folder / "f",
                            [](const fs::path& place) {
                              write_file(place / "half", "no");
                              throw UserError("disk full");
                            }),
               UserError);
  EXPECT_EQ(read_file(folder / "f/kept"), "yes");
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
}

TEST_F(Files, MistakesNameTheFile) {
  EXPECT_THAT(message_of([&] { read_file(folder / "none"); }), HasSubstr("none: cannot open: No such file"));
  EXPECT_THAT(message_of([&] { read_file(folder); }), HasSubstr("cannot read: Is a directory"));
  EXPECT_THAT(message_of([&] { write_file(folder / "no/such/place", ""); }), HasSubstr("place.partial: cannot write"));
  EXPECT_THAT(message_of([&] { OutputFile("/dev/full").write(std::string(2 << 20, 'x')); }),
              HasSubstr("/dev/full: cannot write: No space left on device; free some space"));
}

TEST_F(Files, AppendingGoesOn) {
  OutputFile(folder / "log").write("one\n");
  OutputFile log(folder / "log", true);
  EXPECT_EQ(log.size(), 4u);
  log.write("two\n");
  log.close();
  EXPECT_EQ(read_file(folder / "log"), "one\ntwo\n");
  const MappedFile mapped(folder / "log");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped.data()), mapped.size()), "one\ntwo\n");
  write_file(folder / "empty", "");
  EXPECT_EQ(MappedFile(folder / "empty").size(), 0u);
}

TEST_F(Files, ALinkStaysAndWhatItPointsToIsReplaced) {
  fs::create_directories(folder / "far");
  std::ofstream(folder / "far/file") << "old";
  fs::create_symlink("far/file", folder / "link");
  fs::create_symlink("far/none", folder / "to_nothing");
  write_file(folder / "link", "new");
  write_file(folder / "to_nothing", "made");
  EXPECT_EQ(fs::read_symlink(folder / "link"), "far/file");
  EXPECT_EQ(read_file(folder / "far/file"), "new");
  EXPECT_EQ(read_file(folder / "far/none"), "made");
}

TEST_F(Files, WhatTheUnfinishedFileIsCalledIsNoLinkToFollow) {
  std::ofstream(folder / "precious") << "yes";
  fs::create_symlink("precious", folder / "a.partial");
  write_file(folder / "a", "new");
  EXPECT_EQ(read_file(folder / "precious"), "yes");
  EXPECT_EQ(names(), (std::vector<std::string>{"a", "precious"}));
  fs::create_directories(folder / "a.partial/of somebody");
  EXPECT_THAT(message_of([&] { write_file(folder / "a", "newer"); }),
              HasSubstr("a.partial: cannot remove it: Is a directory"));
  EXPECT_TRUE(fs::exists(folder / "a.partial/of somebody"));
  EXPECT_EQ(read_file(folder / "a"), "new");
}

TEST_F(Files, AFolderIsNoFile) {
  fs::create_directories(folder / "f");
  for (const auto& path : {folder / "f", folder / "f/", folder / "new/"}) {
    EXPECT_THAT(message_of([&] { write_file(path, ""); }), HasSubstr("is a folder; name a file"));
    EXPECT_THAT(message_of([&] { check_writable(path); }), HasSubstr("is a folder; name a file"));
  }
  EXPECT_EQ(message_of([&] { check_writable(folder / "new"); }), "");
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
}

TEST_F(Files, PipesAreReadAndWrittenAsTheyAre) {
  const auto pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { write_file(pipe, "through"); });
  EXPECT_EQ(read_file(pipe), "through");
  writer.join();
  std::thread mapped([&] { write_file(pipe, "mapped"); });
  const MappedFile file(pipe);
  mapped.join();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.data()), file.size()), "mapped");
  EXPECT_EQ(bytes_of(pipe), 0u);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(Files, OneLineForWhatCannotBeRead) {
  fs::create_symlink("loop", folder / "loop");
  for (const auto& attempt : std::vector<std::function<void()>>{
           [&] { read_file(folder / "loop"); }, [&] { stands(folder / "loop"); }, [&] { resolved(folder / "loop"); },
           [&] { write_file(folder / "loop", ""); }, [&] { write_folder(folder / "loop", [](const fs::path&) {}); },
           [&] { make_folders(folder / "loop/x"); }})
    EXPECT_THAT(message_of(attempt), HasSubstr("the link leads back to itself"));
  for (const char* device : {"/dev/zero", "/dev/urandom"})
    EXPECT_THAT(message_of([&] { read_file(device); }), HasSubstr("is a device; name a file"));
  EXPECT_EQ(read_file("/dev/null"), "");
  EXPECT_THAT(message_of([&] { resolved(""); }), HasSubstr("an empty path"));
}

TEST_F(Files, APathHasOneSpelling) {
  fs::create_directories(folder / "a/b");
  fs::create_directory_symlink(folder / "a/b", folder / "link");
  const auto root = fs::canonical(folder);
  const std::vector<std::pair<std::string, std::string>> same{
      {"a/b", "a/b"},     {"a/b/", "a/b"},         {"a/./b/.", "a/b"},  {"link", "a/b"},
      {"link/..", "a"},   {"link/../c", "a/c"},    {"none/../c/", "c"}, {"none/none/.", "none/none"},
      {"a//b///", "a/b"}, {"link/new/", "a/b/new"}};
  for (const auto& [spelling, path] : same)
    EXPECT_EQ(resolved(folder.string() + "/" + spelling), root / path) << spelling;
  EXPECT_EQ(resolved("/"), "/");
  EXPECT_EQ(resolved("."), fs::current_path());
}

}  // namespace
}  // namespace accordion
