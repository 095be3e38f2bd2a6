#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "report/progress.h"

namespace accordion {

/// A folder of the test's own, removed with it, and two streams that nobody sees.
class Scratch : public testing::Test {
 protected:
  Scratch() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder = std::filesystem::temp_directory_path() /
             format("accordion-%s-%s-%d", test->test_suite_name(), test->name(), ::getpid());
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    quiet.output = std::tmpfile();
    quiet.messages = std::tmpfile();
    quiet.terminal = false;
  }
  ~Scratch() override {
    std::fclose(quiet.output);
    std::fclose(quiet.messages);
    std::filesystem::remove_all(folder);
  }
  void put(const std::string& name, const std::string& content) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << content;
  }
  std::vector<std::string> lines(const std::string& name) const {
    std::vector<std::string> found;
    std::istringstream stream(read_file(folder / name));
    for (std::string line; std::getline(stream, line);) found.push_back(line);
    return found;
  }
  static std::string written(std::FILE* stream) {
    std::fflush(stream);
    std::rewind(stream);
    std::string text;
    for (int c; (c = std::fgetc(stream)) != EOF;) text += static_cast<char>(c);
    return text;
  }

  std::filesystem::path folder;
  TerminalOptions quiet;
};

}  // namespace accordion
