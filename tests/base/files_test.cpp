#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"

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

}  // namespace
}  // namespace accordion
