#include "data/loader.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "data/corpora.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

std::vector<Source> source(const std::string& path, double weight = 1) {
  Source made;
  made.path = path;
  made.weight = weight;
  return {made};
}

std::vector<int64_t> stream(Loader loader, int64_t tokens) { return loader.next(1, tokens).inputs; }

class LoaderTest : public testing::Test {
 protected:
  TemporaryFolder folder;
  const std::vector<int64_t> lengths{5, 1, 12, 3, 7, 2, 30};
  const std::string corpus = write_corpus(folder / "corpus", counting_documents(lengths));
  static constexpr int64_t kTokens = 60;
};

TEST_F(LoaderTest, ReadsInCorpusOrder) {
  Loader loader(source(corpus), false, 1);
  EXPECT_EQ(loader.tokens(), kTokens);
  const auto batch = loader.next(2, 4);
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(batch.targets, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(batch.pieces, ElementsAre(ElementsAre(4), ElementsAre(1, 1, 2)));
  EXPECT_EQ(batch.read, 8);
  EXPECT_FALSE(batch.new_epoch);
}

TEST_F(LoaderTest, GoesOnWithTheNextEpoch) {
  Loader loader(source(corpus), false, 1);
  const auto first = loader.next(1, kTokens);
  EXPECT_EQ(first.targets.back(), 0);  // the first token again
  EXPECT_FALSE(first.new_epoch);
  EXPECT_EQ(first.epoch, 0);
  const auto second = loader.next(1, 3);
  EXPECT_THAT(second.inputs, ElementsAre(0, 1, 2));
  EXPECT_TRUE(second.new_epoch);
  EXPECT_EQ(second.epoch, 1);
  EXPECT_FALSE(loader.next(1, 3).new_epoch);
}

TEST_F(LoaderTest, ShufflesDocumentsWholeAndAnewEachEpoch) {
  const auto tokens = stream(Loader(source(corpus), true, 1), 2 * kTokens);
  std::vector<std::vector<int64_t>> orders(2);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    auto begin = tokens.begin() + static_cast<int64_t>(epoch) * kTokens;
    auto sorted = std::vector(begin, begin + kTokens);
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < kTokens; ++i) EXPECT_EQ(sorted[static_cast<size_t>(i)], i);
    orders[epoch] = std::vector(begin, begin + kTokens);
    int64_t breaks = 0;
    for (auto at = begin; at + 1 != begin + kTokens; ++at) breaks += at[1] != at[0] + 1;
    EXPECT_LE(breaks, 6);  // seven documents, none cut
    EXPECT_GE(breaks, 1);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(stream(Loader(source(corpus), true, 2), kTokens), orders[0]);
}

TEST_F(LoaderTest, AnyShapesReadTheSameStreamOnce) {
  std::mt19937 random(7);
  for (const bool shuffle : {false, true}) {
    const auto expected = stream(Loader(source(corpus), shuffle, 3), 2000);
    for (int trial = 0; trial < 20; ++trial) {
      Loader loader(source(corpus), shuffle, 3);
      std::vector<int64_t> inputs;
      while (inputs.size() + 200 < expected.size()) {
        const int64_t rows = 1 + random() % 5, length = 1 + random() % 37;
        const auto batch = loader.next(rows, length);
        const auto at = static_cast<int64_t>(inputs.size());
        inputs.insert(inputs.end(), batch.inputs.begin(), batch.inputs.end());
        EXPECT_THAT(batch.targets,
                    ElementsAreArray(expected.begin() + at + 1, expected.begin() + at + 1 + rows * length));
        for (const auto& row : batch.pieces) EXPECT_EQ(std::accumulate(row.begin(), row.end(), int64_t{0}), length);
        // A piece ends where the corpus's numbering breaks or a document ends, nowhere else.
        for (size_t r = 0; r < batch.pieces.size(); ++r) {
          auto token = batch.inputs.begin() + static_cast<int64_t>(r) * length;
          for (const auto piece : batch.pieces[r]) {
            for (const auto end = token + piece - 1; token < end; ++token) EXPECT_EQ(token[1], token[0] + 1);
            ++token;
          }
        }
      }
      EXPECT_THAT(inputs, ElementsAreArray(expected.begin(), expected.begin() + static_cast<int64_t>(inputs.size())));
    }
  }
}

TEST_F(LoaderTest, CursorBringsBackTheSameTokens) {
  const auto other = write_corpus(folder / "other", counting_documents({9, 4, 17}, 1000));
  auto sources = source(corpus, 2);
  sources.push_back(source(other, 1)[0]);
  std::mt19937 random(11);
  for (const bool shuffle : {false, true}) {
    Loader loader(sources, shuffle, 5);
    for (int trial = 0; trial < 50; ++trial) {
      loader.next(1 + random() % 3, 1 + random() % 50);
      const auto cursor = nlohmann::json::parse(loader.cursor().dump());
      Loader resumed(sources, shuffle, 5);
      resumed.restore(cursor);
      const auto a = loader.next(2, 33), b = resumed.next(2, 33);
      EXPECT_EQ(a.inputs, b.inputs);
      EXPECT_EQ(a.targets, b.targets);
      EXPECT_EQ(a.pieces, b.pieces);
      EXPECT_EQ(a.epoch, b.epoch);
      EXPECT_EQ(a.new_epoch, b.new_epoch);
      EXPECT_EQ(loader.cursor(), resumed.cursor());
    }
  }
}

TEST_F(LoaderTest, TruncateDropsTails) {
  Loader loader(source(corpus), false, 1);
  auto batch = loader.next(2, 3, 10);
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 2, 10, 11, 12));
  EXPECT_THAT(batch.targets, ElementsAre(1, 2, 3, 11, 12, 13));
  EXPECT_EQ(batch.read, 20);
  batch = loader.next(2, 3, 10, 99);  // preserve_eos
  EXPECT_THAT(batch.inputs, ElementsAre(20, 21, 22, 30, 31, 32));
  EXPECT_THAT(batch.targets, ElementsAre(21, 22, 99, 31, 32, 99));
  EXPECT_THAT(loader.next(1, 4, 4, 99).targets, ElementsAre(41, 42, 43, 44));  // nothing is cut off
}

TEST_F(LoaderTest, MixesByTokens) {
  std::vector<int64_t> short_lengths(200, 10), long_lengths(20, 350);
  const auto a = write_corpus(folder / "a", counting_documents(short_lengths)),
             b = write_corpus(folder / "b", counting_documents(long_lengths, 100000));
  auto sources = source(a, 3);
  sources.push_back(source(b, 1)[0]);
  const auto tokens = stream(Loader(sources, true, 1), 100000);
  int64_t from_a = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    from_a += tokens[i] < 100000;
    if (i > 5000) {  // at any moment, up to one document of the longest kind
      EXPECT_NEAR(static_cast<double>(from_a), 0.75 * static_cast<double>(i + 1), 360) << i;
    }
  }
}

TEST_F(LoaderTest, VisitsEachSourceInAnOrderOfItsOwn) {
  constexpr int64_t kDocuments = 40, kOther = 1000;
  const std::vector<int64_t> ones(kDocuments, 1);
  auto sources = source(write_corpus(folder / "a", counting_documents(ones)));
  sources.push_back(source(write_corpus(folder / "b", counting_documents(ones, kOther)))[0]);
  std::vector<int64_t> orders[2];
  for (const auto token : stream(Loader(sources, true, 1), 2 * kDocuments))
    orders[token >= kOther].push_back(token % kOther);
  EXPECT_THAT(orders[0], testing::UnorderedElementsAreArray(orders[1]));
  EXPECT_NE(orders[0], orders[1]);
}

TEST_F(LoaderTest, RefusesWhatCannotBeMixed) {
  const auto other = write_corpus(folder / "other", counting_documents({9}), 1 << 20, "another tokenizer");
  auto sources = source(corpus);
  sources.push_back(source(other)[0]);
  EXPECT_THROW(Loader(sources, true, 1), UserError);
  EXPECT_THROW(Loader(source(corpus, 0), true, 1), UserError);
  EXPECT_THROW(Loader({}, true, 1), UserError);
  EXPECT_THROW(Loader(source(folder / "none"), true, 1), UserError);
  EXPECT_THROW(Loader(source(write_corpus(folder / "empty", {})), true, 1), UserError);
}

TEST_F(LoaderTest, RefusesTokensOutsideTheVocabulary) {
  Loader loader(source(write_corpus(folder / "small", {{1, 2, 300, 4}}, 257)), false, 1);
  EXPECT_THROW(loader.next(1, 4), UserError);
}

TEST_F(LoaderTest, TheModelsVocabularyBoundsACorpusWithoutAManifest) {
  for (const int32_t id : {300, -1}) {
    const auto bare = (folder / "bare").string();
    write_split(bare, {{1, 2}, {3, id, 4}}, TokenType::int32);
    Loader loader(source(bare), false, 1);
    loader.expect_ids_below(300);
    loader.next(1, 2);
    try {
      loader.next(1, 2);
      FAIL();
    } catch (const UserError& error) {
      EXPECT_EQ(error.what(), bare + ": token " + std::to_string(id) +
                                  " lies outside the model's vocabulary of 300; choose a model with a larger one, or "
                                  "prepare the corpus with the model's tokenizer");
    }
  }
}

TEST_F(LoaderTest, FingerprintTellsCorporaApart) {
  const auto before = Loader(source(corpus), true, 1).fingerprint();
  EXPECT_EQ(before, Loader(source(corpus), false, 2).fingerprint());
  write_corpus(corpus, counting_documents(lengths, 1));
  EXPECT_NE(before, Loader(source(corpus), true, 1).fingerprint());
}

TEST_F(LoaderTest, ValidationIsTheSameAtEachLength) {
  const auto tokens = validation_tokens(corpus, 1000, 16);
  EXPECT_EQ(tokens, 48);  // 59 have a successor
  for (const int64_t length : {1, 3, 7, 16, 48}) {
    for (const int64_t rows : {1, 2, 5}) {
      std::vector<int64_t> inputs, targets;
      for (const auto& batch : validation_batches(corpus, length, tokens, rows)) {
        EXPECT_LE(batch.rows, rows);
        inputs.insert(inputs.end(), batch.inputs.begin(), batch.inputs.end());
        targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
        ASSERT_EQ(static_cast<int64_t>(batch.pieces.size()), batch.rows);
        for (const auto& row : batch.pieces)
          EXPECT_EQ(std::accumulate(row.begin(), row.end(), int64_t{0}), batch.length);
      }
      ASSERT_EQ(inputs.size(), 48u);
      for (int64_t i = 0; i < tokens; ++i) {
        EXPECT_EQ(inputs[static_cast<size_t>(i)], i);
        EXPECT_EQ(targets[static_cast<size_t>(i)], i + 1);
      }
    }
  }
  EXPECT_THAT(validation_batches(corpus, 8, 16, 4)[0].pieces, ElementsAre(ElementsAre(5, 1, 2), ElementsAre(8)));
  EXPECT_EQ(validation_tokens(corpus, 1000, 64), 59);  // less than one row of the longest
  EXPECT_THROW(validation_tokens(write_corpus(folder / "empty", {}), 10, 1), UserError);
}

}  // namespace
}  // namespace accordion
