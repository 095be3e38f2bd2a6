#include "report/progress.h"

#include <gmock/gmock.h>

#include "scratch.h"

namespace accordion {
namespace {

using testing::HasSubstr;
using ProgressBar = Scratch;

TEST_F(ProgressBar, DrawsOnTerminalsAndWipesItself) {
  quiet.terminal = true;
  {
    Progress progress("tokenizing", 200, quiet);
    progress.update(50, "10.0 MB/s", 90);
  }
  const auto text = written(quiet.messages);
  EXPECT_THAT(text, HasSubstr("tokenizing "));
  EXPECT_THAT(text, HasSubstr(" 25 %  10.0 MB/s  01:30 left"));
  EXPECT_TRUE(text.ends_with("\r\033[K"));
}

TEST_F(ProgressBar, KeepsQuietElsewhereUntilTenSecondsHavePassed) {
  Progress progress("tokenizing", 200, quiet);
  for (int i = 0; i <= 200; ++i) progress.update(i);
  EXPECT_EQ(written(quiet.messages), "");
}

/// A line that wraps cannot be wiped: it keeps one cell of the 80 free, however many bytes its letters have.
TEST_F(ProgressBar, ALongLineIsCutToTheTerminal) {
  quiet.terminal = true;
  std::string title;
  for (int i = 0; i < 100; ++i) title += "é";
  Progress progress(title, 200, quiet);
  progress.update(50, "10.0 MB/s", 90);
  std::string cut;
  for (int i = 0; i < 79; ++i) cut += "é";
  EXPECT_EQ(written(quiet.messages), "\r" + cut + "\033[K");
}

}  // namespace
}  // namespace accordion
