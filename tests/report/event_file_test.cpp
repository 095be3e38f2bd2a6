#include "report/event_file.h"

#include <gmock/gmock.h>

#include <set>

#include "scratch.h"

namespace accordion {
namespace {

// RFC 3720, appendix B.4, and the checksum's usual check value.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(crc32c(ascending), 0x46DD794EU);
  EXPECT_EQ(crc32c(""), 0U);
}

using EventFiles = Scratch;

// Field by field against the wire format; TensorBoard's own reader is asked in tests/e2e/test_tensorboard.py.
TEST_F(EventFiles, FramesAndFields) {
  EventFile(folder, 7).scalars(7, {{"loss", 1.5}});
  const auto bytes = read_file(std::filesystem::directory_iterator(folder)->path());
  size_t at = 0;
  std::vector<std::string> events;
  while (at < bytes.size()) {
    const auto length = static_cast<unsigned char>(bytes[at]);  // below 256 here
    events.push_back(bytes.substr(at + 12, length));
    at += 8 + 4 + length + 4;
  }
  ASSERT_EQ(events.size(), 3U);
  EXPECT_THAT(events[0], testing::EndsWith(std::string("\x1A\x0D") + "brain.Event:2"));
  EXPECT_EQ(events[1].substr(9), std::string("\x10\x07\x3A\x02\x08\x01"));  // step 7, session_log {status: START}
  EXPECT_EQ(events[2].substr(9),
            std::string("\x10\x07\x2A\x0D\x0A\x0B\x0A\x04", 8) + "loss" + std::string("\x15\0\0\xC0\x3F", 5));
}

TEST_F(EventFiles, LaterSessionsSortBehindEarlierOnes) {
  std::set<std::string> names;
  std::string last;
  for (int session = 0; session < 4; ++session) {
    EventFile file(folder, session);
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const auto name = entry.path().filename().string();
      if (names.insert(name).second) {
        EXPECT_GT(name, last);
        last = name;
      }
    }
  }
  EXPECT_EQ(names.size(), 4U);
}

}  // namespace
}  // namespace accordion
