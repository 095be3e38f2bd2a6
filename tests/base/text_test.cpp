#include "base/text.h"

#include <gtest/gtest.h>

namespace accordion {
namespace {

TEST(Text, CountsAsPeopleWriteThem) {
  EXPECT_EQ(parse_count("16384"), 16384);
  EXPECT_EQ(parse_count("16k"), 16384);
  EXPECT_EQ(parse_count("2m"), 2 << 20);
  EXPECT_EQ(parse_count("20e6"), 20'000'000);
  EXPECT_EQ(parse_count("1.5e3"), 1500);
  for (const auto* wrong : {"", "k", "1.5", "16 k", "16kk", "1e400", "0x10", "nan", "1e-3"})
    EXPECT_FALSE(parse_count(wrong)) << wrong;
}

TEST(Text, RealNumbersTakeTheWholeText) {
  EXPECT_EQ(parse_real("3e-4"), 3e-4);
  EXPECT_EQ(parse_real("-1"), -1);
  for (const auto* wrong : {"", "1x", "1 ", "--1"}) EXPECT_FALSE(parse_real(wrong)) << wrong;
}

TEST(Text, AmountsForPeople) {
  EXPECT_EQ(format_bytes(2.25 * (1 << 30)), "2.2 GiB");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_count(31234), "31.2k");
  EXPECT_EQ(format_count(20e6), "20.0M");
  EXPECT_EQ(format_duration(190), "03:10");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_thousands(1234567), "1,234,567");
  EXPECT_EQ(format_thousands(-1000), "-1,000");
  EXPECT_EQ(format_thousands(12), "12");
}

TEST(Text, AnyBytesGoThroughUtf8) {
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& bytes :
       {std::string("plain"), std::string("sch\u00f6n \u6f22 \U0001F600"), std::string("/data/\xFF\xFE/x"),
        std::string("cut \xE6\xBC"), std::string("\U0010F7FF\U0010F700\U0010F6FF"), all}) {
    const auto text = as_utf8(bytes);
    for (size_t at = 0; at < text.size(); at += static_cast<size_t>(measure_utf8(text, at)))
      ASSERT_GT(measure_utf8(text, at), 0) << bytes;
    EXPECT_EQ(bytes_of_utf8(text), bytes);
  }
  EXPECT_EQ(as_utf8("sch\u00f6n"), "sch\u00f6n");
}

}  // namespace
}  // namespace accordion
