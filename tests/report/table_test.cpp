#include "report/table.h"

#include <gtest/gtest.h>

namespace accordion {
namespace {

TEST(Table, AlignsColumnsAndLeavesNoSpaceAtLineEnds) {
  Table table({"run", "tokens", "loss"});
  table.row({"constant", "1,024", "3.5"});
  table.row({"s", "12"});
  EXPECT_EQ(table.text(),
            "run       tokens  loss\n"
            "--------  ------  ----\n"
            "constant   1,024   3.5\n"
            "s             12\n");
}

TEST(Table, CountsCharactersNotBytes) {
  EXPECT_EQ(text_width("naïve –"), 7U);
  Table table({"a", "b"}, 2);
  table.row({"é", "1"});
  table.row({"ee", "2"});
  EXPECT_EQ(table.text(), "a   b\n--  -\né   1\nee  2\n");
}

TEST(Table, RefusesMoreCellsThanColumns) { EXPECT_THROW(Table({"a"}).row({"1", "2"}), std::logic_error); }

}  // namespace
}  // namespace accordion
