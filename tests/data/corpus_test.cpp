#include "data/corpus.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"
#include "data/corpora.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int64_t> all_tokens(const Corpus& corpus) {
  std::vector<int64_t> tokens(static_cast<size_t>(corpus.tokens()));
  corpus.read(0, tokens);
  return tokens;
}

class CorpusFile : public testing::TestWithParam<TokenType> {};

TEST_P(CorpusFile, GivesBackWhatWasWritten) {
  TemporaryFolder folder;
  const auto summary = write_split(folder / "x", {{7, 8, 9}, {}, {65000}}, GetParam());
  const Corpus corpus(folder / "x");
  EXPECT_EQ(corpus.type(), GetParam());
  EXPECT_EQ(corpus.documents(), 3);
  EXPECT_THAT(all_tokens(corpus), ElementsAre(7, 8, 9, 65000));
  EXPECT_EQ(corpus.length(0), 3);
  EXPECT_EQ(corpus.length(1), 0);
  EXPECT_EQ(corpus.start(2), 3);
  EXPECT_EQ(summary["tokens"], 4);
  EXPECT_EQ(summary["longest"], 3);
}
INSTANTIATE_TEST_SUITE_P(Types, CorpusFile, testing::Values(TokenType::uint16, TokenType::int32));

TEST(Corpus, FollowsMegatronsLayoutByteByByte) {
  TemporaryFolder folder;
  write_split(folder / "x", {{1, 2}, {3}}, TokenType::uint16);
  const std::string expected(
      "MMIDIDX\0\0"
      "\1\0\0\0\0\0\0\0"
      "\10"
      "\2\0\0\0\0\0\0\0"
      "\3\0\0\0\0\0\0\0"
      "\2\0\0\0\1\0\0\0"
      "\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0",
      9 + 8 + 1 + 8 + 8 + 8 + 16 + 24);
  EXPECT_EQ(read_file(folder / "x.idx"), expected);
  EXPECT_EQ(read_file(folder / "x.bin"), std::string("\1\0\2\0\3\0", 6));
}

TEST(Corpus, ReadsDocumentsOfSeveralSequences) {
  TemporaryFolder folder;
  write_split(folder / "x", {{1, 2}, {3}, {4}}, TokenType::uint16);
  auto index = read_file(folder / "x.idx");
  // Join the first two sequences to one document: the marks 0, 1, 2, 3 become 0, 2, 3.
  const size_t marks = 34 + 3 * 4 + 3 * 8;
  index[26] = 3;
  index.erase(marks + 8, 8);
  write_file(folder / "x.idx", index);
  const Corpus corpus(folder / "x");
  EXPECT_EQ(corpus.documents(), 2);
  EXPECT_EQ(corpus.length(0), 3);
}

TEST(Corpus, RefusesDamage) {
  TemporaryFolder folder;
  write_split(folder / "x", {{1, 2, 3}}, TokenType::uint16);
  const auto index = read_file(folder / "x.idx");
  auto message = [&](std::string content) {
    write_file(folder / "x.idx", content);
    try {
      Corpus corpus(folder / "x");
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message(""), HasSubstr("not an index"));
  EXPECT_THAT(message(index.substr(0, index.size() - 1)), HasSubstr("cut off"));
  for (size_t i = 0; i < index.size(); ++i) {  // no damaged byte of the index crashes or goes unseen
    auto damaged = index;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    EXPECT_NE(message(damaged), "accepted") << "byte " << i;
  }
  write_file(folder / "x.idx", index);
  write_file(folder / "x.bin", "odd");
  EXPECT_THAT(message(index), HasSubstr("its size"));
}

TEST(CorpusWriter, MovesItsLastDocument) {
  TemporaryFolder folder;
  for (const auto type : {TokenType::uint16, TokenType::int32}) {
    CorpusWriter from(folder / "from", type), to(folder / "to", type);
    for (const auto& document : Documents{{1, 2}, {3, 4, 5}}) {
      from.add(document);
      from.end_document();
    }
    from.move_last_document(to);
    from.close();
    to.close();
    EXPECT_THAT(all_tokens(Corpus(folder / "from")), ElementsAre(1, 2));
    EXPECT_THAT(all_tokens(Corpus(folder / "to")), ElementsAre(3, 4, 5));
    EXPECT_EQ(from.summary(), write_split(folder / "alone", {{1, 2}}, type));
    EXPECT_EQ(to.summary(), write_split(folder / "alone", {{3, 4, 5}}, type));
  }
}

TEST(CorpusWriter, SummarisesLengths) {
  TemporaryFolder folder;
  const auto summary = write_split(folder / "x", counting_documents({1, 3, 2, 9}), TokenType::uint16);
  EXPECT_EQ(summary["lengths"].dump(),
            R"([{"documents":1,"from":1},{"documents":2,"from":2},{"documents":1,"from":8}])");
  EXPECT_NE(summary["hash"], write_split(folder / "x", counting_documents({1, 3, 2, 9}, 1), TokenType::uint16)["hash"]);
}

TEST(OpenSplit, SaysWhatIsMissing) {
  TemporaryFolder folder;
  EXPECT_THROW(open_split(folder / "none", "train"), UserError);
  std::filesystem::create_directories(folder / "empty");
  EXPECT_THROW(open_split(folder / "empty", "train"), UserError);
  write_split(folder / "neox_text_document", {{1, 2}}, TokenType::int32);
  EXPECT_EQ(open_split(folder / "neox_text_document", "train").tokens(), 2);
}

}  // namespace
}  // namespace accordion
