#include "data/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace accordion {
namespace {

struct Case {
  std::string text, repaired;
  int64_t damaged;
};

// What Python's bytes.decode("utf-8", "replace") gives.
TEST(RepairUtf8, ReplacesMaximalParts) {
  const std::string r = "\xEF\xBF\xBD";
  const Case cases[] = {
      {"", "", 0},
      {"plain", "plain", 0},
      {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 0},
      {"\x80", r, 1},
      {"caf\xE9 au lait", "caf" + r + " au lait", 1},
      {"\xC3", r, 1},          // cut off at the end
      {"\xF0\x9F\x98", r, 1},  // three bytes of one character
      {"\xF0\x9F\x98x", r + "x", 1},
      {"\xE2\x82\xE2\x82\xAC", r + "\xE2\x82\xAC", 1},
      {"\xC0\xAF", r + r, 2},  // overlong
      {"\xE0\x80\xAF", r + r + r, 3},
      {"\xED\xA0\x80", r + r + r, 3},          // a surrogate
      {"\xF4\x90\x80\x80", r + r + r + r, 4},  // above U+10FFFF
      {"\xF5\xFF", r + r, 2},
      {std::string("12345678\xFF") + "12345678", "12345678" + r + "12345678", 1},
  };
  for (const auto& each : cases) {
    auto text = each.text;
    EXPECT_EQ(repair_utf8(text), each.damaged) << each.text;
    EXPECT_EQ(text, each.repaired);
  }
}

TEST(RepairUtf8, IsDoneInOnePass) {
  std::mt19937 random(1);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text(random() % 30, ' ');
    for (auto& c : text) c = static_cast<char>(random() % 4 == 0 ? 'a' : random() % 256);
    repair_utf8(text);
    const auto once = text;
    EXPECT_EQ(repair_utf8(text), 0);
    EXPECT_EQ(text, once);
  }
}

TEST(Characters, GoThereAndBack) {
  std::string text;
  const std::u32string characters = U"a\u00e9\u07ff\u0800\u2581\uffff\U00010000\U0010ffff";
  for (const auto character : characters) append_character(text, character);
  EXPECT_EQ(text, "a\u00e9\u07ff\u0800\u2581\uffff\U00010000\U0010ffff");
  size_t at = 0;
  for (const auto character : characters) EXPECT_EQ(next_character(text, at), character);
  EXPECT_EQ(at, text.size());
}

}  // namespace
}  // namespace accordion
