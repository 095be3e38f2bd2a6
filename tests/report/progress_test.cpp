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

}  // namespace
}  // namespace accordion
