#include "data/text_format.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/error.h"

namespace accordion {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace std::string_literals;

/// The format, or what the refusal says.
std::string format_of(const std::string& name, const std::string& content, InputKind kind = InputKind::automatic) {
  try {
    switch (text_format(name, kind, [&](size_t) { return std::string_view(content); })) {
      case TextFormat::text:
        return "text";
      case TextFormat::lines:
        return "lines";
      case TextFormat::objects:
        return "objects";
    }
    return "";
  } catch (const UserError& error) {
    return error.what();
  }
}

const std::string kLines = "{\"text\": \"a\"}\n{\"text\": \"b\", \"x\": NaN}\n";
const std::string kArray = "[\n  {\"text\": \"a]\"},\n  {\"text\": \"b\"}\n]\n";
const std::string kPretty = "{\n  \"text\": \"a\"\n}\n";

TEST(TextFormat, OfJsonLinesWhateverTheEnding) {
  for (const std::string name : {"a.jsonl", "A.JSONL", "a.ndjson", "a.ldjson", "a.json", "a.json.gz", "a.JSON.ZST",
                                 "c4.00000-of-01024", "a", "a.gz.1", "a.dat", "a.jsonl.gz.zst", "a.jsonlines.bz2"}) {
    EXPECT_EQ(format_of(name, kLines), "lines") << name;
    EXPECT_EQ(format_of(name, "\xEF\xBB\xBF" + kLines), "lines") << name;
    EXPECT_EQ(format_of(name, "\n \r\n" + kLines), "lines") << name;
    EXPECT_EQ(format_of(name, "{\"text\": \"a\"}"), "lines") << name;
    EXPECT_EQ(format_of(name, "{\"text\": \"a\"}\r\n{\"text\": \"b\"}\r\n"), "lines") << name;
    EXPECT_EQ(format_of(name, kArray), "objects") << name;
    EXPECT_EQ(format_of(name, kPretty), "objects") << name;
    EXPECT_EQ(format_of(name, kPretty + kPretty), "objects") << name;
    EXPECT_EQ(format_of(name, "[{\"text\": \"" + std::string(200000, 'x') + "\"}]"), "objects") << name;
    EXPECT_EQ(format_of(name, "{\"text\": \"" + std::string(200000, 'x') + "\"}\n{\"text\": \"b\"}"), "lines") << name;
  }
}

TEST(TextFormat, OfTextsThatOnlyBeginLikeJson) {
  for (const std::string content : {"", "plain", "{", "{}x", "{ \"a\": 1 } is an object", "[1, 2]", "[link](x)", "[{x",
                                    "{\n  return 1;\n}\n", "{\"a\": 1}\nplain\n", "[\"a\"]\n[\"b\"]\n", "\"text\"\n"}) {
    EXPECT_EQ(format_of("a", content), "text") << content;
    EXPECT_EQ(format_of("a.md", content), "text") << content;
    EXPECT_EQ(format_of("a.jsonl", content) == "text", false) << content;  // and reading it names the line
  }
}

TEST(TextFormat, AsksWhereEndingAndContentContradict) {
  for (const std::string name : {"a.txt", "a.TXT.xz", "a.md", "b.rst"}) {
    EXPECT_THAT(format_of(name, kLines),
                AllOf(HasSubstr(name + ": "), HasSubstr("JSON lines"), HasSubstr("--input-kind")))
        << name;
    EXPECT_THAT(format_of(name, kArray), HasSubstr("--input-kind")) << name;
    EXPECT_EQ(format_of(name, kLines, InputKind::text), "text");
    EXPECT_EQ(format_of(name, kLines, InputKind::jsonl), "lines");
    EXPECT_EQ(format_of(name, kArray, InputKind::jsonl), "objects");
  }
  for (const std::string content : {"", "plain", "[1]", "\"text\"", "[[{}]]"}) {
    EXPECT_THAT(format_of("a.json", content), HasSubstr("--input-kind text")) << content;
    EXPECT_EQ(format_of("a.json", content, InputKind::text), "text");
  }
  EXPECT_THAT(format_of("a.csv.gz", "id,text\n1,x\n"), HasSubstr("--input-kind text"));
  EXPECT_EQ(format_of("a.csv", "id,text\n1,x\n", InputKind::text), "text");
}

TEST(TextFormat, RefusesWhatIsNoText) {
  std::string tar(1024, '\0');
  tar.replace(0, 5, "a.txt").replace(257, 5, "ustar");
  std::string old_tar(1024, '\0');
  old_tar.replace(0, 5, "a.txt");
  std::string noise;
  for (int i = 0; i < 4000; ++i) noise += static_cast<char>(1 + i * 7919 % 255);
  const std::pair<std::string, std::string> kinds[] = {{"\x7F"
                                                        "ELF\x02\x01\x01",
                                                        "a program"},
                                                       {tar, "tar"},
                                                       {old_tar, "NUL"},
                                                       {"PK\x03\x04x", "zip"},
                                                       {"PAR1\x15\x04", "parquet"},
                                                       {"ARROW1\0\0"s, "Arrow"},
                                                       {"\xFF\xFF\xFF\xFF\x10"s, "Arrow"},
                                                       {"SQLite format 3\0"s, "SQLite"},
                                                       {"\x93NUMPY\x01"s, "NumPy"},
                                                       {"\x80\x04\x95\x10\0"s, "pickle"},
                                                       {"\x80\x02}q\x01", "pickle"},
                                                       {"%PDF-1.7\n", "PDF"},
                                                       {"\x89PNG\r\n\x1A\n", "picture"},
                                                       {"\xFF\xD8\xFF\xE0", "picture"},
                                                       {"GIF89a", "picture"},
                                                       {"WARC/1.0\r\n", "WARC"},
                                                       {"MMIDIDX\0\0"s, "corpus"},
                                                       {"text and \0 more"s, "byte 10 is NUL"},
                                                       {noise, "control characters"},
                                                       {"\xFF\xFEh\0i\0"s, "UTF-16LE"},
                                                       {"\xFE\xFF\0h\0i"s, "UTF-16BE"},
                                                       {"h\0e\0l\0l\0o\0 \0"s, "UTF-16LE"},
                                                       {"\0h\0e\0l\0l\0o\0 "s, "UTF-16BE"},
                                                       {"\xFF\xFE\0\0h\0\0\0"s, "UTF-32LE"},
                                                       {"\0\0\xFE\xFF\0\0\0h"s, "UTF-32BE"},
                                                       {"h\0\0\0i\0\0\0"s, "UTF-32LE"},
                                                       {"\0\0\0h\0\0\0i"s, "UTF-32BE"}};
  for (const auto& [content, what] : kinds)
    for (const std::string name : {"a", "a.txt", "a.jsonl.gz", "a.json"})
      for (const auto kind : {InputKind::automatic, InputKind::text, InputKind::jsonl})
        EXPECT_THAT(format_of(name, content, kind), AllOf(HasSubstr(name + ": "), HasSubstr(what), HasSubstr("; ")))
            << what;
  EXPECT_THAT(format_of("a.parquet", "x"), HasSubstr("parquet"));
}

TEST(TextFormat, TakesTextWithSomeOddBytes) {
  for (const std::string content : {"caf\xE9 na\xEFve", "a\x1A", "\x1B[1mbold\x1B[0m", "form\ffeed\v", "\xEF\xBB\xBF",
                                    "\x80uro", "BZhello", "MZ is text"})
    EXPECT_EQ(format_of("a.txt", content), "text") << content;
}

TEST(TextFormat, TakesOfFoldersWhatItKnows) {
  for (const char* name : {"a.txt", "A.TXT", "a.Text.GZ", "a.md.xz", "a.rst.bz2", "a.jsonl", "a.JSONL.zst",
                           "a.ndjson.gz", "a.ldjson", "a.json", "a.json.gz", "a.parquet"})
    EXPECT_TRUE(is_text_by_name(name)) << name;
  for (const char* name : {"a", "a.gz", "a.png", "a.csv", "a.html", "txt", ".txt", "a.txt.1", "a.tar.gz", "a.tgz"})
    EXPECT_FALSE(is_text_by_name(name)) << name;
}

}  // namespace
}  // namespace accordion
