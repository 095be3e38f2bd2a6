#include "data/special_tokens.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "data/corpora.h"
#include "data/post_processor.h"
#include "data/tokenizer.h"

namespace accordion {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

/// Single letters with `</s>` and `<s>` among the ordinary entries, as in Gemma's vocabulary, and special tokens.
json description() {
  json result = json::parse(R"({"model": {"type": "BPE", "merges": [], "vocab": {}}, "added_tokens": [],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}, "decoder": {"type": "ByteLevel"}})");
  int id = 0;
  for (char c = 'a'; c <= 'z'; ++c) result["model"]["vocab"][std::string(1, c)] = id++;
  for (const char* token : {"</s>", "<s>"}) result["model"]["vocab"][token] = id++;
  for (const char* token : {"<pad>", "<eos>", "<bos>", "<|im_end|>"})
    result["added_tokens"].push_back({{"id", id++}, {"content", token}, {"special", true}, {"normalized", false}});
  result["added_tokens"].push_back({{"id", id++}, {"content", "<eol>"}, {"special", false}, {"normalized", false}});
  return result;
}
constexpr int64_t kOrdinaryEnd = 26, kPad = 28, kEos = 29, kBos = 30, kImEnd = 31, kEol = 32;

class SpecialTokensTest : public testing::Test {
 protected:
  TemporaryFolder folder;
  json tokenizer = description();

  void write(const std::string& name, const std::string& content) { write_file(folder / name, content); }
  Tokenizer load(const std::string& chosen = "") {
    write("tokenizer.json", tokenizer.dump());
    return Tokenizer::load(folder / "", chosen);
  }
  std::string end(const std::string& chosen = "") {
    const auto loaded = load(chosen);
    return loaded.special_tokens().end->text() + " by " + loaded.special_tokens().end->origin;
  }
  std::string notices() { return json(load().special_tokens().notices).dump(); }
  template <class Do>
  std::string refusal(Do run) {
    try {
      run();
    } catch (const UserError& error) {
      return error.what();
    }
    return "accepted";
  }
};

TEST_F(SpecialTokensTest, AnOrdinaryEntryNeverEndsDocumentsByItsName) {
  EXPECT_EQ(end(), "<eos> (29) by tokenizer.json");
  tokenizer["added_tokens"].erase(1);
  const auto loaded = load();  // what needs no end works
  EXPECT_EQ(loaded.encode("abc").size(), 3u);
  EXPECT_THAT(refusal([&] { loaded.end_of_text(); }), HasSubstr("--eos"));
  EXPECT_THAT(refusal([&] { loaded.end_of_text(); }), HasSubstr("<|im_end|> (31)"));
}

TEST_F(SpecialTokensTest, FilesBesideItInTheirOrder) {
  write("generation_config.json", R"({"eos_token_id": [31, 29], "bos_token_id": 30})");
  EXPECT_EQ(end(), "<|im_end|> (31) by generation_config.json");
  EXPECT_THAT(notices(), HasSubstr("a list, whose first is taken"));
  EXPECT_EQ(load().special_tokens().begin->id, kBos);
  write("config.json", R"({"eos_token_id": 29})");
  EXPECT_EQ(end(), "<eos> (29) by config.json");
  EXPECT_EQ(notices(), "[]");  // the other's list holds it
  write("special_tokens_map.json", R"({"eos_token": {"content": "<|im_end|>", "lstrip": false}})");
  EXPECT_EQ(end(), "<|im_end|> (31) by special_tokens_map.json");
  EXPECT_THAT(notices(), HasSubstr("config.json says <eos> (29) instead"));
  write("tokenizer_config.json", R"({"eos_token": null, "pad_token": "<pad>"})");
  EXPECT_EQ(end(), "<|im_end|> (31) by special_tokens_map.json");
  EXPECT_EQ(load().special_tokens().padding->id, kPad);
  write("tokenizer_config.json", R"({"eos_token": {"content": "<eos>"}})");
  EXPECT_EQ(end(), "<eos> (29) by tokenizer_config.json");
  EXPECT_EQ(end("<|im_end|>"), "<|im_end|> (31) by --eos");
  EXPECT_EQ(end("30"), "<bos> (30) by --eos");
  write("manifest.json", R"({"format": "accordion corpus", "end_of_text": 31})");
  EXPECT_EQ(end(), "<|im_end|> (31) by manifest.json");
}

TEST_F(SpecialTokensTest, WhatCannotBeIsPassedOverWithANotice) {
  write("config.json", R"({"eos_token_id": 2})");  // transformers' default for a Llama: here the letter c
  EXPECT_EQ(end(), "<eos> (29) by tokenizer.json");
  EXPECT_THAT(notices(), HasSubstr("config.json names 2"));
  write("config.json", R"({"eos_token_id": [50256, 31]})");
  EXPECT_EQ(end(), "<|im_end|> (31) by config.json");
  EXPECT_THAT(notices(), HasSubstr("config.json names 50256"));
  write("tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  EXPECT_EQ(end(), "<|im_end|> (31) by config.json");
  EXPECT_THAT(notices(), HasSubstr("<|endoftext|> as eos_token"));
}

TEST_F(SpecialTokensTest, AnOrdinaryTokenThatIsNamedBecomesSpecialAsInTransformers) {
  write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  const auto loaded = load();
  EXPECT_EQ(loaded.end_of_text(), kOrdinaryEnd);
  EXPECT_THAT(loaded.encode("a</s>b"), ElementsAre(0, kOrdinaryEnd, 1));
  EXPECT_EQ(loaded.decode({0, kOrdinaryEnd, 1}), "ab");
  EXPECT_EQ(load("<eol>").end_of_text(), kEol);
}

TEST_F(SpecialTokensTest, RefusesInOneLine) {
  EXPECT_THAT(refusal([&] { load("<nothing>"); }), HasSubstr("--eos <nothing>: the tokenizer has no such token"));
  EXPECT_THAT(refusal([&] { load("33"); }), HasSubstr("ids below 33"));
  write("config.json", R"({"eos_token_id": "two"})");
  EXPECT_THAT(refusal([&] { load(); }), HasSubstr("config.json: eos_token_id: must be"));
  write("config.json", "[]");
  EXPECT_THAT(refusal([&] { load(); }), HasSubstr("config.json: not a JSON object"));
  write("config.json", "{}");
  write("tokenizer_config.json", R"({"eos_token": 7})");
  EXPECT_THAT(refusal([&] { load(); }), HasSubstr("tokenizer_config.json: eos_token: must be"));
  write("tokenizer_config.json", R"({"add_bos_token": "yes"})");
  EXPECT_THAT(refusal([&] { load(); }), HasSubstr("add_bos_token: must be true or false"));
}

json text_part() { return {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}; }
json token_part(const std::string& token) { return {{"SpecialToken", {{"id", token}, {"type_id", 0}}}}; }
json template_of(const json& single) {
  return {{"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", json::object()}};
}

TEST_F(SpecialTokensTest, WhatGoesBeforeAPrompt) {
  const auto before = [&] { return load().beginning().ids; };
  EXPECT_THAT(before(), ElementsAre());
  const auto begins = template_of({token_part("<bos>"), text_part(), token_part("<eos>")});
  tokenizer["post_processor"] = begins;
  EXPECT_THAT(before(), ElementsAre(kBos));  // and no end
  const json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  tokenizer["post_processor"] = {{"type", "Sequence"}, {"processors", {level, begins}}};
  EXPECT_THAT(before(), ElementsAre(kBos));
  auto two = template_of({token_part("X"), token_part("<bos>"), text_part()});
  two["special_tokens"]["X"] = {{"id", "X"}, {"ids", {kPad, kEol}}, {"tokens", {"<pad>", "<eol>"}}};
  tokenizer["post_processor"] = two;
  EXPECT_THAT(before(), ElementsAre(kPad, kEol, kBos));
  tokenizer["post_processor"] = {{"type", "Sequence"}, {"processors", {begins, level, two}}};
  EXPECT_THAT(before(), ElementsAre(kPad, kEol, kBos, kBos));  // the later ones around the earlier
  for (const char* type : {"RobertaProcessing", "BertProcessing"}) {
    tokenizer["post_processor"] = {{"type", type}, {"cls", {"<bos>", kBos}}, {"sep", {"<eos>", kEos}}};
    EXPECT_THAT(before(), ElementsAre(kBos));
  }
  write("tokenizer_config.json", R"({"add_bos_token": false, "bos_token": "<bos>"})");
  EXPECT_THAT(before(), ElementsAre());
  tokenizer["post_processor"] = nullptr;
  write("tokenizer_config.json", R"({"add_bos_token": true, "add_eos_token": true, "bos_token": "<bos>"})");
  EXPECT_THAT(before(), ElementsAre(kBos));
}

TEST_F(SpecialTokensTest, WhatLayBesideItGoesAlongAsItWas) {
  const std::string config = R"({"eos_token": "<eos>",   "chat_template": "x"})";
  write("tokenizer_config.json", config);
  for (const char* name : {"special_tokens_map.json", "added_tokens.json", "generation_config.json"}) write(name, "{}");
  for (const char* name : {"chat_template.jinja", "merges.txt", "vocab.json"}) write(name, "anything");
  std::filesystem::create_directories(folder / "out");
  load().save(folder / "out");
  EXPECT_EQ(read_file(folder / "out/tokenizer_config.json"), config);
  EXPECT_EQ(read_file(folder / "out/tokenizer.json"), tokenizer.dump());
  for (const char* name : {"chat_template.jinja", "merges.txt", "vocab.json"})
    EXPECT_EQ(read_file(folder / "out" / name), "anything");
  EXPECT_FALSE(std::filesystem::exists(folder / "out/generation_config.json"));  // the model's, not the tokenizer's
}

TEST_F(SpecialTokensTest, WhatWouldSayOtherwiseIsChanged) {
  tokenizer["post_processor"] = template_of({token_part("<bos>"), text_part()});
  write("tokenizer_config.json", R"({"eos_token": {"content": "<eos>", "special": true}, "bos_token": "<bos>"})");
  write("special_tokens_map.json", R"({"eos_token": "<eos>", "bos_token": "<bos>"})");
  std::filesystem::create_directories(folder / "out");
  load("<|im_end|>").save(folder / "out");
  const auto config = json::parse(read_file(folder / "out/tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], (json{{"content", "<|im_end|>"}, {"special", true}}));
  EXPECT_EQ(config["add_bos_token"], false);  // documents have none
  EXPECT_EQ(json::parse(read_file(folder / "out/special_tokens_map.json"))["eos_token"], "<|im_end|>");
  const auto again = Tokenizer::load(folder / "out");
  EXPECT_EQ(again.end_of_text(), kImEnd);
  EXPECT_THAT(again.beginning().ids, ElementsAre());
  EXPECT_EQ(again.special_tokens().begin->id, kBos);
}

}  // namespace
}  // namespace accordion
