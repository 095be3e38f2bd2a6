#include "data/prepare.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "data/corpora.h"
#include "data/tokenizer.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() {
    options.tokenizer = "bytes";
    options.out = folder / "out";
  }
  nlohmann::json run() {
    return prepare(options, [](double, double, int64_t) {});
  }
  std::string refusal() {
    try {
      run();
    } catch (const UserError& error) {
      EXPECT_FALSE(fs::exists(folder / "out.partial"));
      return error.what();
    }
    return "accepted";
  }
  void text(const std::string& name, const std::string& content) {
    fs::create_directories((folder / name).parent_path());
    write_file(folder / name, content);
  }
  std::vector<std::string> documents(const std::string& split, const std::string& corpus = "out") {
    const auto opened = open_split(folder / corpus, split);
    const auto tokenizer = Tokenizer::load(folder / corpus);
    std::vector<std::string> found;
    for (int64_t i = 0; i < opened.documents(); ++i) {
      std::vector<int64_t> ids(static_cast<size_t>(opened.length(i)));
      opened.read(opened.start(i), ids);
      EXPECT_EQ(ids.back(), tokenizer.end_of_text());
      found.push_back(tokenizer.decode(ids));
    }
    return found;
  }
  void lines(const std::string& name, int count) {
    std::string content;
    for (int i = 0; i < count; ++i) content += nlohmann::json{{"text", "line " + std::to_string(i)}}.dump() + "\n";
    text(name, content);
  }
  TemporaryFolder folder;
  PrepareOptions options;
};

TEST_F(PrepareTest, KeepsTheOrderOfPathsAndLines) {
  text("in/b.txt", "second");
  text("in/a.jsonl", R"({"text": "first, one"})"
                     "\n\n"
                     R"({"text": "first, two"})"
                     "\n");
  text("in/c/d.txt", "third");
  options.inputs = {folder / "in"};
  options.validation = 0;
  const auto made = run();
  EXPECT_THAT(documents("train"), ElementsAre("first, one", "first, two", "second", "third"));
  EXPECT_THAT(documents("validation"), ElementsAre());
  EXPECT_EQ(made["tokens"], 10 + 10 + 6 + 5 + 4);
  const auto manifest = read_manifest(folder / "out");
  EXPECT_EQ(manifest["vocabulary"], 257);
  EXPECT_EQ(manifest["train"]["documents"], 4);
  EXPECT_EQ(manifest["tokenizer"]["name"], "bytes");
  EXPECT_EQ(manifest["tokenizer"]["hash"], Tokenizer::load("bytes").hash());
}

TEST_F(PrepareTest, IsTheSameWhateverTheWorkers) {
  std::mt19937 random(1);
  std::string large;
  while (large.size() < 2000000) large += random() % 5 ? "some words " : "and.\n\n";
  text("in/large.txt", large);
  lines("in/lines.jsonl", 20000);
  options.inputs = {folder / "in"};
  options.validation = 0.05;
  std::vector<std::string> contents;
  for (const int workers : {1, 2, 7}) {
    options.workers = workers;
    run();
    std::string content;
    for (const char* name : {"train.bin", "train.idx", "validation.bin", "validation.idx", "manifest.json"})
      content += read_file(folder / "out" / name);
    contents.push_back(content);
  }
  EXPECT_EQ(contents[0], contents[1]);
  EXPECT_EQ(contents[0], contents[2]);
  EXPECT_EQ(documents("train")[0], large);
}

TEST_F(PrepareTest, HoldsOutTheShareExactly) {
  lines("in.jsonl", 1000);
  options.inputs = {folder / "in.jsonl"};
  for (const double share : {0.01, 0.1, 0.25, 0.5}) {
    options.validation = share;
    run();
    auto train = documents("train"), validation = documents("validation");
    EXPECT_EQ(validation.size(), static_cast<size_t>(1000 * share));
    EXPECT_EQ(train.size() + validation.size(), 1000u);
    train.insert(train.end(), validation.begin(), validation.end());
    std::sort(train.begin(), train.end());
    EXPECT_EQ(std::unique(train.begin(), train.end()), train.end());
  }
}

TEST_F(PrepareTest, HoldsOutOneDocumentOfTwo) {
  for (const int count : {1, 2, 3, 5, 10, 29}) {
    for (const double share : {0.01, 0.9}) {
      lines("in.jsonl", count);
      options.inputs = {folder / "in.jsonl"};
      options.validation = share;
      run();
      EXPECT_EQ(documents("train").size() + documents("validation").size(), static_cast<size_t>(count));
      EXPECT_GE(documents("train").size(), 1u);
      EXPECT_GE(documents("validation").size(), count > 1 ? 1u : 0u);
    }
  }
}

TEST_F(PrepareTest, SplitsByLength) {
  std::string content;
  std::vector<std::string> shorter, longer;
  for (int i = 0; i < 100; ++i) {
    const std::string document(static_cast<size_t>(i + 1), 'x');  // i + 2 tokens
    content += nlohmann::json{{"text", document}}.dump() + "\n";
    (i + 2 < 40 ? shorter : longer).push_back(document);
  }
  text("in.jsonl", content + "\n");
  options.inputs = {folder / "in.jsonl"};
  options.split = 40;
  options.validation = 0;
  run();
  EXPECT_EQ(documents("train", "out/short"), shorter);
  EXPECT_EQ(documents("train", "out/long"), longer);
  run();  // replaces them
  options.split = 1000;
  EXPECT_THAT(refusal(), HasSubstr("--split 1000"));
  EXPECT_EQ(documents("train", "out/short"), shorter);  // still there
}

TEST_F(PrepareTest, CountsWhatIsDamagedOrEmpty) {
  text("in/a.txt", "caf\xE9");
  text("in/b.txt", "");
  text("in/c.jsonl", "{\"text\": \"\"}\n{\"text\": \"\\ud800\"}\n");
  options.inputs = {folder / "in"};
  options.validation = 0;
  const auto made = run();
  EXPECT_EQ(made["damaged_utf8"], 2);
  EXPECT_EQ(made["empty_documents"], 2);
  EXPECT_THAT(documents("train"), ElementsAre("caf\xEF\xBF\xBD", "\xEF\xBF\xBD"));
}

TEST_F(PrepareTest, LeavesNothingBehindWhereItFails) {
  lines("in.jsonl", 50000);
  text("in2.jsonl", "{\"text\": \"fine\"}\n{\"text\": }\n");
  options.inputs = {folder / "in.jsonl", folder / "in2.jsonl"};
  options.workers = 3;
  EXPECT_THAT(refusal(), HasSubstr("in2.jsonl:2: not valid JSON"));
  EXPECT_FALSE(fs::exists(folder / "out"));
  options.inputs = {folder / "in.jsonl"};
  run();
  options.inputs = {folder / "in2.jsonl"};
  EXPECT_THAT(refusal(), HasSubstr("in2.jsonl:2"));
  EXPECT_EQ(documents("train").size(), 49500u);  // the corpus that was there
}

TEST_F(PrepareTest, ReplacesNothingButCorpora) {
  lines("in.jsonl", 3);
  options.inputs = {folder / "in.jsonl"};
  text("out/letter.txt", "precious");
  EXPECT_THAT(refusal(), HasSubstr("other than a corpus"));
  text("out/manifest.json", R"({"name": "somebody else's", "vocabulary": 3})");
  EXPECT_THAT(refusal(), HasSubstr("other than a corpus"));
  EXPECT_EQ(read_file(folder / "out/letter.txt"), "precious");
  fs::remove_all(folder / "out");
  text("out", "a file");
  EXPECT_THAT(refusal(), HasSubstr("is a file"));
  fs::remove(folder / "out");
  run();
  lines("out/mine.jsonl", 3);
  options.inputs = {folder / "out/mine.jsonl"};
  EXPECT_THAT(refusal(), HasSubstr("lies in it"));
}

TEST_F(PrepareTest, RefusesInputWithoutText) {
  text("a.txt", "");
  options.inputs = {folder / "a.txt"};
  EXPECT_THAT(refusal(), HasSubstr("no text"));
}

}  // namespace
}  // namespace accordion
