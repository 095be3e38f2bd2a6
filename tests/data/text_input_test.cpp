#include "data/text_input.h"

#include <gmock/gmock.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "base/error.h"
#include "data/corpora.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string gzipped(const TemporaryFolder& folder, const std::string& content) {
  gzFile file = gzopen((folder / "packed").c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return read_file(folder / "packed");
}

std::string zstandard(const std::string& content) {
  std::string packed(ZSTD_compressBound(content.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(), content.size(), 3));
  return packed;
}

std::vector<TextPart> parts_of(TextReader reader) {
  std::vector<TextPart> parts;
  while (auto part = reader.next()) parts.push_back(*part);
  EXPECT_FALSE(reader.next());
  return parts;
}

class FindTexts : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"b.txt", "a.txt", "sub/c.jsonl.gz", "sub/d.md", "e.png", ".hidden.txt", "sub/f.c"}) {
      fs::create_directories((folder / name).parent_path());
      write_file(folder / name, name);
    }
  }
  std::vector<std::string> names(const std::vector<std::string>& inputs, const std::string& glob = "") {
    std::vector<std::string> found;
    for (const auto& file : find_texts(inputs, glob)) found.push_back(fs::relative(file, folder / "").string());
    return found;
  }
  TemporaryFolder folder;
};

TEST_F(FindTexts, OfFoldersSortedByPath) {
  EXPECT_THAT(names({folder / ""}), ElementsAre("a.txt", "b.txt", "sub/c.jsonl.gz", "sub/d.md"));
  EXPECT_THAT(names({folder / ""}, "*.c"), ElementsAre("sub/f.c"));
  EXPECT_THAT(names({folder / ""}, "sub/*"), ElementsAre("sub/c.jsonl.gz", "sub/d.md", "sub/f.c"));
}

TEST_F(FindTexts, OfFilesAndPatternsEachOnce) {
  EXPECT_THAT(names({folder / "b.txt", folder / "a.txt", folder / "b.txt"}), ElementsAre("a.txt", "b.txt"));
  EXPECT_THAT(names({folder / "*.txt", folder / "a.txt"}), ElementsAre("a.txt", "b.txt"));
  fs::create_symlink(folder / "a.txt", folder / "sub/link.txt");
  EXPECT_THAT(names({folder / ""}), ElementsAre("a.txt", "b.txt", "sub/c.jsonl.gz", "sub/d.md"));
}

TEST_F(FindTexts, LeavesOutWhatIsHidden) {
  for (const char* name : {".cache/g.txt", ".git/h/i.txt", "sub/.j/k.txt", "sub/.l.txt", "M.TXT.XZ"}) {
    fs::create_directories((folder / name).parent_path());
    write_file(folder / name, name);
  }
  EXPECT_THAT(names({folder / ""}), ElementsAre("M.TXT.XZ", "a.txt", "b.txt", "sub/c.jsonl.gz", "sub/d.md"));
  EXPECT_THAT(names({folder / ""}, "*.txt"), ElementsAre("a.txt", "b.txt"));
  EXPECT_THAT(names({folder / ".cache"}), ElementsAre(".cache/g.txt"));
  EXPECT_THAT(names({folder / ".hidden.txt"}), ElementsAre(".hidden.txt"));
  EXPECT_THAT(names({folder / ""}, ".*.txt"), ElementsAre(".cache/g.txt", ".git/h/i.txt", ".hidden.txt", "sub/.l.txt"));
  EXPECT_THAT(names({folder / ""}, "sub/.j/*"), ElementsAre("sub/.j/k.txt"));
  EXPECT_THAT(names({folder / ""}, ".cache/*"), ElementsAre(".cache/g.txt"));
}

TEST_F(FindTexts, RefusesWhatIsNotThere) {
  EXPECT_THROW(names({folder / "none.txt"}), UserError);
  EXPECT_THROW(names({folder / "*.none"}), UserError);
  EXPECT_THROW(names({folder / ""}, "*.none"), UserError);
  EXPECT_THROW(names({folder / "a.txt"}, "*.txt"), UserError);
  for (const char* name : {"x.parquet", "x.json"}) {
    write_file(folder / name, "");
    EXPECT_THROW(names({folder / name}), UserError);
  }
}

TEST(TextReader, GivesFilesWholeAndLinesOneByOne) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", "one\ntwo\n");
  write_file(folder / "b.jsonl", "first\n\nthird");
  write_file(folder / "c.txt", "");
  write_file(folder / "d.jsonl", "");
  write_file(folder / "e.txt", "x");
  const auto parts = parts_of(TextReader(find_texts({folder / ""}, ""), true, false));
  ASSERT_EQ(parts.size(), 6u);
  const auto expect = [&](size_t i, const std::string& text, size_t file, int64_t line) {
    EXPECT_EQ(parts[i].text, text);
    EXPECT_EQ(parts[i].file, file);
    EXPECT_EQ(parts[i].line, line);
    EXPECT_TRUE(parts[i].last);
  };
  expect(0, "one\ntwo\n", 0, 0);
  expect(1, "first", 1, 1);
  expect(2, "", 1, 2);
  expect(3, "third", 1, 3);
  expect(4, "", 2, 0);
  expect(5, "x", 4, 0);
}

TEST(TextReader, Decompresses) {
  TemporaryFolder folder;
  std::string content;
  std::mt19937 random(1);
  while (content.size() < 900000) content += std::to_string(random()) + "\n";
  write_file(folder / "a.jsonl", content);
  write_file(folder / "b.jsonl.gz", gzipped(folder, content));
  write_file(folder / "c.jsonl.zst", zstandard(content.substr(0, 500000)) + zstandard(content.substr(500000)));
  std::vector<std::string> texts[3];
  for (const auto& part : parts_of(TextReader(find_texts({folder / "*.jsonl*"}, ""), true, false)))
    texts[part.file].push_back(part.text);
  EXPECT_GT(texts[0].size(), 80000u);
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[0], texts[2]);
  for (const char* name : {"b.jsonl.gz", "c.jsonl.zst"}) {  // cut off
    const auto whole = read_file(folder / name);
    write_file(folder / name, whole.substr(0, whole.size() - 100));
    EXPECT_THROW(parts_of(TextReader({folder / name}, true, false)), UserError) << name;
  }
}

TEST(TextReader, KnowsFilesByWhatTheyHold) {
  TemporaryFolder folder;
  const std::string lines = "{\"text\": \"a\"}\n\n{\"text\": \"b\"}";
  for (const std::string name : {"a.json.gz", "a.ndjson", "A.JSONL.GZ", "a.gz.1", "a", "a.jsonl"}) {
    for (const auto& content : {lines, gzipped(folder, lines), zstandard(lines), "\xEF\xBB\xBF" + lines}) {
      write_file(folder / name, content);
      const auto parts = parts_of(TextReader(find_texts({folder / name}, ""), true, false));
      ASSERT_EQ(parts.size(), 3u) << name;
      EXPECT_EQ(parts[0].text, "{\"text\": \"a\"}");
      EXPECT_EQ(parts[2].text, "{\"text\": \"b\"}");
      EXPECT_EQ(parts[2].line, 3);
    }
  }
  write_file(folder / "a.txt", gzipped(folder, "plain"));
  write_file(folder / "b.txt.gz", "plain");
  for (const std::string name : {"a.txt", "b.txt.gz"})
    EXPECT_EQ(parts_of(TextReader({folder / name}, true, false))[0].text, "plain");
}

TEST(TextReader, DropsAByteOrderMarkAtTheStartOnly) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", "\xEF\xBB\xBFone \xEF\xBB\xBFtwo");
  write_file(folder / "b.txt", "\xEF\xBB\xBF");
  const auto parts = parts_of(TextReader({folder / "a.txt", folder / "b.txt"}, true, false));
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].text, "one \xEF\xBB\xBFtwo");
  EXPECT_EQ(parts[1].text, "");
  EXPECT_TRUE(parts[1].last);
}

TEST(TextReader, GivesTheObjectsOfJson) {
  TemporaryFolder folder;
  const auto texts = [&](const std::string& content) {
    write_file(folder / "a.json", content);
    std::string all;
    for (const auto& part : parts_of(TextReader({folder / "a.json"}, true, false)))
      all += std::to_string(part.line) + part.text + ";";
    return all;
  };
  EXPECT_EQ(texts("[{\"a\":1},{\"b\":\"]}\"}]"), "1{\"a\":1};1{\"b\":\"]}\"};");
  EXPECT_EQ(texts("\xEF\xBB\xBF[\n {\"a\":\n1}\n,\n {\"b\":[{}]} ]\n"), "2{\"a\":\n1};5{\"b\":[{}]};");
  EXPECT_EQ(texts("{\n\"a\":1}\n{\n\"b\":1\n}"), "1{\n\"a\":1};3{\n\"b\":1\n};");
  std::string large = "[", want;
  for (int i = 0; i < 3000; ++i) {
    const auto object = "{\"text\":\"" + std::string(static_cast<size_t>(i % 700), 'x') + "\"}";
    large += (i ? ",\n" : "") + object;
    want += std::to_string(i + 1) + object + ";";
  }
  EXPECT_EQ(texts(large + "]"), want);
  for (const auto& [content, line] : std::vector<std::pair<std::string, int>>{{"[{\"a\":1}\n{\"b\":1}]", 2},
                                                                              {"[{\"a\":1},\n]", 2},
                                                                              {"[{\"a\":1},\n2]", 2},
                                                                              {"[{\"a\":1}\n", 2},
                                                                              {"[{\"a\":1},\n{\"b\":", 2},
                                                                              {"[{\"a\":1}]\nx", 2},
                                                                              {"[{\"a\":1}]\n[{\"b\":1}]", 2},
                                                                              {"{\n\"a\":1}\n{\"b\":", 3}}) {
    try {
      texts(content);
      ADD_FAILURE() << content;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a.json:" + std::to_string(line) + ": not valid JSON: ")) << content;
    }
  }
}

TEST(TextReader, CutsLargeTextsBetweenWords) {
  TemporaryFolder folder;
  std::string content;
  std::mt19937 random(2);
  while (content.size() < 1500000) content += random() % 3 ? "word  " : random() % 2 ? "two words" : "\n\n12 ";
  write_file(folder / "a.txt", content);
  for (const bool drops : {false, true}) {
    std::string joined;
    const auto parts = parts_of(TextReader({folder / "a.txt"}, true, drops));
    EXPECT_GT(parts.size(), 4u);
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].last, i + 1 == parts.size());
      EXPECT_LT(parts[i].text.size(), size_t{300} << 10);
      joined += (drops && i > 0 ? " " : "") + parts[i].text;
    }
    EXPECT_EQ(joined, content);
  }
  EXPECT_EQ(parts_of(TextReader({folder / "a.txt"}, false, false)).size(), 1u);
}

TEST(TextReader, BoundsTextsWithoutSpaces) {
  TemporaryFolder folder;
  std::string content;
  while (content.size() < size_t{20} << 20) content += "\u4f60\u597d";
  write_file(folder / "a.txt", content);
  std::string joined;
  for (const auto& part : parts_of(TextReader({folder / "a.txt"}, true, false))) {
    EXPECT_LE(part.text.size(), size_t{9} << 20);
    EXPECT_EQ(part.text.size() % 6 % 3, 0u);  // whole characters
    joined += part.text;
  }
  EXPECT_EQ(joined, content);
}

TEST(TextReader, KnowsUtf16) {
  TemporaryFolder folder;
  write_file(folder / "a.txt", std::string("\xFF\xFEh\0i\0", 6));
  EXPECT_THROW(parts_of(TextReader({folder / "a.txt"}, true, false)), UserError);
}

}  // namespace
}  // namespace accordion
