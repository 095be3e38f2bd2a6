#include "data/tokenizer.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "data/corpora.h"
#include "data/sentencepiece_model.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int64_t>;

/// A byte-level BPE of the letters of "the cat" with a few merges, in Hugging Face's format.
nlohmann::json small_tokenizer() {
  auto description = nlohmann::json::parse(R"({
    "version": "1.0", "normalizer": null, "post_processor": null,
    "added_tokens": [{"id": 12, "content": "<|endoftext|>", "special": true, "normalized": false}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "merges": ["t h", "a t", "th e"],
      "vocab": {"t": 0, "h": 1, "e": 2, "c": 3, "a": 4, "\u0120": 5, "th": 6, "at": 7, "the": 8, "\u00c3": 9, "\u00a9": 10, "s": 11}}})");
  return description;
}

class TokenizerTest : public testing::Test {
 protected:
  TemporaryFolder folder;
  Tokenizer load(const nlohmann::json& description) {
    write_file(folder / "tokenizer.json", description.dump());
    return Tokenizer::load(folder / "tokenizer.json");
  }
  std::string refusal(const nlohmann::json& description) {
    try {
      load(description).end_of_text();
    } catch (const UserError& error) {
      return error.what();
    }
    return "accepted";
  }
};

TEST_F(TokenizerTest, CutsTextsOnlyWhereNothingReachesOver) {
  Tokenizer::load("bytes").save(folder / "");
  const auto bytes = nlohmann::json::parse(read_file(folder / "tokenizer.json"));
  const auto cut = [&](const std::string& pattern) {
    auto description = bytes;
    description["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}}, bytes["pre_tokenizer"]}}};
    return load(description).cut();
  };
  for (const char* pattern : {" ?\\p{L}+|\\s+(?!\\S)", "\\s+$", "[a-z]+"})
    EXPECT_EQ(cut(pattern), Tokenizer::Cut::keep_space) << pattern;
  for (const char* pattern : {"New York", "[a-z ]+", "^a", "\\p{L}+(?! )", "(?<=Z) b", "\\bb"})
    EXPECT_EQ(cut(pattern), Tokenizer::Cut::none) << pattern;
  auto description = bytes;
  description["added_tokens"].push_back(
      {{"id", 257}, {"content", "New York"}, {"special", false}, {"normalized", false}});
  EXPECT_EQ(load(description).cut(), Tokenizer::Cut::none);
}

TEST_F(TokenizerTest, BytesAreThemselves) {
  const auto tokenizer = Tokenizer::load("bytes");
  EXPECT_EQ(tokenizer.vocabulary(), 257);
  EXPECT_EQ(tokenizer.end_of_text(), 256);
  EXPECT_EQ(tokenizer.name(), "bytes");
  EXPECT_EQ(tokenizer.cut(), Tokenizer::Cut::keep_space);
  EXPECT_THAT(tokenizer.encode("A\n\u00e9"), ElementsAre(65, 10, 0xC3, 0xA9));
  std::string all;
  for (char32_t c = 0; c < 128; ++c) all.push_back(static_cast<char>(c));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(all)), all);
  EXPECT_EQ(tokenizer.decode({104, 105, 256}), "hi");
}

TEST_F(TokenizerTest, BytesTravelAsTokenizerJson) {
  const auto tokenizer = Tokenizer::load("bytes");
  tokenizer.save(folder / "");
  const auto again = Tokenizer::load(folder / "");
  EXPECT_EQ(again.hash(), tokenizer.hash());
  EXPECT_EQ(again.vocabulary(), 257);
  EXPECT_EQ(again.end_of_text(), 256);
  EXPECT_EQ(again.encode("caf\u00e9 \u00ff"), tokenizer.encode("caf\u00e9 \u00ff"));
}

TEST_F(TokenizerTest, MergesInTheOrderOfTraining) {
  const auto tokenizer = load(small_tokenizer());
  EXPECT_THAT(tokenizer.encode("the cat"), ElementsAre(8, 5, 3, 7));
  EXPECT_THAT(tokenizer.encode("that"), ElementsAre(6, 7));
  EXPECT_THAT(tokenizer.encode("tthe"), ElementsAre(0, 8));
  EXPECT_THAT(tokenizer.encode("\u00e9"), ElementsAre(9, 10));
  EXPECT_THAT(tokenizer.encode("xt"), ElementsAre(0));  // no token, and no token for the unknown: it vanishes
  EXPECT_THAT(tokenizer.encode("the<|endoftext|>cat"), ElementsAre(8, 12, 3, 7));
  EXPECT_EQ(tokenizer.vocabulary(), 13);
  EXPECT_EQ(tokenizer.decode({8, 5, 3, 7, 12, 99, -1}), "the cat");
}

TEST_F(TokenizerTest, CopiesKeepTheirOwnCache) {
  const auto tokenizer = load(small_tokenizer());
  auto copy = tokenizer;
  EXPECT_EQ(copy.encode("the cat"), tokenizer.encode("the cat"));
}

TEST_F(TokenizerTest, CacheNeverChangesIds) {
  const auto tokenizer = load(small_tokenizer());
  std::mt19937 random(1);
  std::vector<std::string> words;
  std::vector<Ids> fresh;
  for (int i = 0; i < 100; ++i) {
    auto& word = words.emplace_back();
    for (size_t length = 1 + random() % 40; word.size() < length;) word += "theca"[random() % 5];
    fresh.push_back(Tokenizer(tokenizer).encode(word));
  }
  for (int trial = 0; trial < 3000; ++trial) {
    const size_t i = random() % words.size();
    EXPECT_EQ(tokenizer.encode(words[i]), fresh[i]);
  }
}

TEST_F(TokenizerTest, LongWordsTakeNoQuadraticTime) {
  const auto tokenizer = load(small_tokenizer());
  std::string word;
  for (int i = 0; i < 300000; ++i) word += "the";
  EXPECT_EQ(tokenizer.encode(word).size(), 300000u);
}

TEST_F(TokenizerTest, NamesWhatItDoesNotSupport) {
  auto description = small_tokenizer();
  description["model"]["type"] = "Unigram";
  EXPECT_THAT(refusal(description), HasSubstr("'Unigram'"));
  description = small_tokenizer();
  description["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  EXPECT_THAT(refusal(description), HasSubstr("'BertPreTokenizer'"));
  description = small_tokenizer();
  description["normalizer"] = {{"type", "Lowercase"}};
  EXPECT_THAT(refusal(description), HasSubstr("'Lowercase'"));
  description = small_tokenizer();
  description["model"]["merges"].push_back("c z");
  EXPECT_THAT(refusal(description), HasSubstr("'c z'"));
  description = small_tokenizer();
  description["added_tokens"][0]["content"] = "<end>";
  EXPECT_THAT(refusal(description), HasSubstr("which token ends documents"));
  description = small_tokenizer();
  description["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(["}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(refusal(description), HasSubstr("not understood"));
  EXPECT_THAT(refusal(nlohmann::json::object()), HasSubstr("no 'model'"));
  EXPECT_THAT(refusal({{"model", 3}}), HasSubstr("not a tokenizer.json"));
  write_file(folder / "tokenizer.json", "{\"model\": ");
  EXPECT_THROW(Tokenizer::load(folder / "tokenizer.json"), UserError);
  write_file(folder / "x.model", "nonsense");
  EXPECT_THROW(Tokenizer::load(folder / "x.model"), UserError);
  EXPECT_THROW(Tokenizer::load(folder / "missing"), UserError);
  std::filesystem::create_directories(folder / "empty");
  EXPECT_THROW(Tokenizer::load(folder / "empty"), UserError);
}

TEST_F(TokenizerTest, TakesTheEndOfTextFromTheConfiguration) {
  auto description = small_tokenizer();
  description["added_tokens"][0]["content"] = "<end>";
  write_file(folder / "tokenizer_config.json", R"({"eos_token": {"content": "<end>"}})");
  EXPECT_EQ(load(description).end_of_text(), 12);
}

TEST_F(TokenizerTest, StreamsWholeCharacters) {
  const auto tokenizer = Tokenizer::load("bytes");
  const std::string text = "na\u00efve \U0001F600!\u20ac";
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const auto id : tokenizer.encode(text)) {
    const auto part = stream.add(id);
    EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos);
    streamed += part;
  }
  EXPECT_EQ(streamed + stream.finish(), text);
  for (const auto id : Ids{'a', 0xC3}) streamed += stream.add(id);  // cut off inside a character
  EXPECT_EQ(streamed + stream.finish(), text + "a\xEF\xBF\xBD");
}

TEST_F(TokenizerTest, ATextThatGoesOnKeepsItsSpaces) {
  auto description = small_tokenizer();
  description["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}, {"split", false}};
  description["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}};
  description["model"] = nlohmann::json::parse(R"({"type": "BPE", "merges": ["\u2581 a", "\u2581 b"],
      "vocab": {"\u2581": 0, "a": 1, "b": 2, "\u2581a": 3, "\u2581b": 4}})");
  const auto tokenizer = load(description);
  const auto streamed = [&](const Ids& prompt, const Ids& ids) {
    StreamDecoder stream(tokenizer, prompt);
    std::string text;
    for (const auto id : ids) text += stream.add(id);
    return text + stream.finish();
  };
  EXPECT_EQ(streamed({}, {3, 4, 1}), "a ba");            // a text of its own
  EXPECT_EQ(streamed({3}, {4, 1}), " ba");               // goes on
  EXPECT_EQ(streamed({3, 12}, {4, 1}), " ba");           // behind a special token too
  EXPECT_EQ(streamed({3}, {12, 12, 4, 12, 3}), " b a");  // and where one comes in between
  EXPECT_EQ(streamed({12}, {3, 4}), "a b");              // nothing to go on from
}

class SentencePieceTest : public TokenizerTest {
 protected:
  Tokenizer train(int64_t vocabulary) {
    int left = 2000;
    std::mt19937 random(1);
    const std::vector<std::string> words{"the", "cat", "sat", "on", "a", "mat", "and", "ate", "rats", "2024"};
    const auto next = [&](std::string& text) {
      text.clear();
      for (int i = 0; i < 8; ++i) text += words[random() % words.size()] + (i % 4 == 3 ? "\n" : " ");
      return left-- > 0;
    };
    write_file(folder / "tokenizer.model", train_sentencepiece(next, vocabulary));
    return Tokenizer::load(folder / "tokenizer.model");
  }
};

TEST_F(SentencePieceTest, TrainsATokenizerThatGivesTheTextBack) {
  const auto tokenizer = train(300);
  EXPECT_EQ(tokenizer.vocabulary(), 300);
  EXPECT_EQ(tokenizer.end_of_text(), 2);
  EXPECT_NE(tokenizer.cut(), Tokenizer::Cut::none);
  for (const std::string text : {"the cat", "  two  spaces\n\ttabs\r\n", "unseen: \u00e9\u4f60\U0001F600", "2024"}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const auto id : tokenizer.encode(text)) streamed += stream.add(id);
    EXPECT_EQ(streamed + stream.finish(), text);
  }
  EXPECT_LT(tokenizer.encode("the cat sat").size(), 8u);
  // A text that goes on from a prompt begins with its space.
  const auto all = tokenizer.encode("the cat sat");
  const auto prompt = tokenizer.encode("the cat");
  StreamDecoder stream(tokenizer, prompt);
  std::string rest;
  for (size_t i = prompt.size(); i < all.size(); ++i) rest += stream.add(all[i]);
  EXPECT_EQ(rest, " sat");
}

TEST_F(SentencePieceTest, ATokenizerJsonGoesWithItAndTheModelIsRead) {
  const auto tokenizer = train(300);
  std::filesystem::create_directories(folder / "out");
  EXPECT_THAT(tokenizer.save(folder / "out"), ElementsAre());
  const auto json = nlohmann::json::parse(read_file(folder / "out/tokenizer.json"));
  EXPECT_EQ(json["model"]["vocab"].size(), 300u);
  EXPECT_EQ(json["added_tokens"], nlohmann::json::array());  // <s> in a text is no token
  const auto again = Tokenizer::load(folder / "out");
  EXPECT_EQ(again.name(), "tokenizer.model");
  EXPECT_EQ(again.hash(), tokenizer.hash());
  EXPECT_TRUE(again.beginning().ids.empty());  // as the documents are
  // Where only the tokenizer.json is left, it gives the same ids.
  std::filesystem::remove(folder / "out/tokenizer.model");
  const auto alone = Tokenizer::load(folder / "out");
  for (const std::string text : {"", " ", "  the  cat ", "a\u00e9\n<0x41>", "\u2581the"})
    EXPECT_EQ(alone.encode(text), tokenizer.encode(text)) << text;
}

TEST_F(SentencePieceTest, RefusesAVocabularyLargerThanTheText) { EXPECT_THROW(train(100000), UserError); }

}  // namespace
}  // namespace accordion
