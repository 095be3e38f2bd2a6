#include "data/json_text.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace accordion {
namespace {

using testing::HasSubstr;

std::string text_of(const std::string& line) {
  int64_t damaged = 0;
  return text_of_line(line, "text", "f:1", damaged);
}

TEST(TextOfLine, TakesTheField) {
  int64_t damaged = 0;
  EXPECT_EQ(text_of_line(R"({"id": 1, "text": "a\n\u00e9\ud83d\ude00", "text2": []})", "text", "f:1", damaged),
            "a\n\u00e9\U0001F600");
  EXPECT_EQ(text_of_line(R"({"body": "x"})", "body", "f:1", damaged), "x");
  EXPECT_EQ(damaged, 0);
}

TEST(TextOfLine, RepairsDamage) {
  int64_t damaged = 0;
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(text_of_line("{\"text\": \"caf\xE9\"}", "text", "f:1", damaged), "caf" + r);
  EXPECT_EQ(damaged, 1);
  EXPECT_EQ(text_of_line(R"({"text": "\ud800x \udc00 \ud83d\ude00 \\ud800 \uD83D"})", "text", "f:1", damaged),
            r + "x " + r + " \U0001F600 \\ud800 " + r);
  EXPECT_EQ(damaged, 4);
}

TEST(TextOfLine, SaysWhereItIsWrong) {
  const auto message = [](const std::string& line) {
    int64_t damaged = 0;
    try {
      text_of_line(line, "text", "f.jsonl:7", damaged);
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message("{\"text\": "), HasSubstr("f.jsonl:7: not valid JSON"));
  EXPECT_THAT(message("[1]"), HasSubstr("f.jsonl:7: not a JSON object"));
  EXPECT_THAT(message(R"({"txt": "x"})"), HasSubstr("did you mean 'txt'"));
  EXPECT_THAT(message(R"({"text": 3})"), HasSubstr("not a string"));
}

TEST(TextOfLine, ReadsWhatPythonWritesBeyondTheStandard) {
  for (const std::string& value : std::vector<std::string>{
           "NaN", "Infinity", "-Infinity", "[1, NaN, {\"b\": -Infinity}]", "1e999", "-1.5E+4000", "[1e-9999, 1E400]",
           "1" + std::string(400, '0'), "-" + std::string(500, '9') + ".5", "{\"NaN\": NaN}"}) {
    EXPECT_EQ(text_of("{\"text\": \"NaN 1e999 \\\" Infinity\", \"a\": " + value + "}"), "NaN 1e999 \" Infinity")
        << value;
    EXPECT_EQ(text_of("{\"a\": " + value + ", \"text\": \"x\"}"), "x") << value;
  }
  for (const std::string value : {"nan", "-NaN", "NaNx", "xNaN", "1NaN", "Inf", "--Infinity", "+Infinity", "NaN NaN",
                                  "1e", "1e9999.5", "01e999", "1.e999", "-", "", "undefined", "0x10"})
    EXPECT_THROW(text_of("{\"text\": \"x\", \"a\": " + value + "}"), UserError) << value;
  EXPECT_THROW(text_of("{\"text\": \"x\", NaN: 1}"), UserError);
  EXPECT_THROW(text_of("{\"text\": NaN}"), UserError);
}

TEST(TextOfLine, TakesTheLastOfEqualKeys) {
  EXPECT_EQ(text_of(R"({"text": "first", "text": "second"})"), "second");
  EXPECT_EQ(text_of(R"({"text": 3, "text": "second"})"), "second");
  EXPECT_THROW(text_of(R"({"text": "first", "text": 3})"), UserError);
}

TEST(TextOfLine, BearsDeepNesting) {
  for (const auto& [open, close] : {std::pair<std::string, std::string>{"[", "]"}, {"{\"a\":", "}"}}) {
    std::string opened, closed;
    for (int i = 0; i < 200000; ++i) opened += open;
    for (int i = 0; i < 200000; ++i) closed += close;
    EXPECT_EQ(text_of("{\"text\": \"x\", \"a\": " + opened + "1" + closed + "}"), "x");
    EXPECT_THROW(text_of("{\"text\": \"x\", \"a\": " + opened), UserError);
  }
}

TEST(TextOfLine, TakesWhatLinesEndWith) {
  EXPECT_EQ(text_of("{\"text\": \"x\"}\r"), "x");
  EXPECT_EQ(text_of(" \t{\"text\": \"x\"} "), "x");
  EXPECT_THROW(text_of("{\"text\": \"x\"} {\"text\": \"y\"}"), UserError);
}

TEST(ObjectEnd, GoesOnWhereItStopped) {
  const std::string text = R"({"a}\\": {"b\"}": ["}"]}} rest)";
  for (size_t step = 1; step < text.size(); ++step) {
    ObjectEnd end;
    size_t found = std::string::npos;
    for (size_t size = step; found == std::string::npos && size <= text.size(); ++size)
      found = end.find(text.substr(0, size));
    EXPECT_EQ(found, text.size() - 5) << step;
  }
}

}  // namespace
}  // namespace accordion
