#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <new>

#include "base/error.h"
#include "data/corpora.h"
#include "data/json_text.h"
#include "data/packed.h"
#include "data/prepare.h"
#include "data/text_input.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"
#include "data/utf8.h"
#include "eval/score.h"
#include "fuzz/mutate.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "schedule/resolve.h"

// Files that a person may bring, damaged in seeded ways: each is read to its end or refused by a UserError, in no more
// memory than twice the file and 64 MiB. ACCORDION_FUZZ=10000 tries so many of each kind (./dev fuzz),
// ACCORDION_FUZZ_FIRST begins at a later one: the number in a failure's message finds it again.

namespace {

std::atomic<int64_t> live_bytes{0}, most_bytes{0};

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const auto now = live_bytes += static_cast<int64_t>(::malloc_usable_size(memory));
  for (auto seen = most_bytes.load(); seen < now && !most_bytes.compare_exchange_weak(seen, now);) {
  }
  return memory;
}
void released(void* memory) {
  if (memory != nullptr) live_bytes -= static_cast<int64_t>(::malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(size_t bytes) { return counted(std::malloc(std::max<size_t>(bytes, 1))); }
void* operator new[](size_t bytes) { return counted(std::malloc(std::max<size_t>(bytes, 1))); }
// Those that throw nothing too, as what they gave is given back below.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept try {
  return counted(std::malloc(std::max<size_t>(bytes, 1)));
} catch (const std::bad_alloc&) {
  return nullptr;
}
void* operator new[](size_t bytes, const std::nothrow_t& none) noexcept { return operator new(bytes, none); }
void operator delete(void* memory) noexcept { released(memory); }
void operator delete[](void* memory) noexcept { released(memory); }
void operator delete(void* memory, size_t) noexcept { released(memory); }
void operator delete[](void* memory, size_t) noexcept { released(memory); }

namespace accordion::fuzz {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

int64_t setting(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoll(value) : otherwise;
}

/// `make` gives the content of the n-th file, `read` reads it as the program would.
void try_all(const fs::path& file, const std::function<std::string(Random&)>& make,
             const std::function<void(const fs::path&)>& read) {
  const int64_t first = setting("ACCORDION_FUZZ_FIRST", 0), count = setting("ACCORDION_FUZZ", 150);
  constexpr int64_t kRoom = int64_t{64} << 20;
  int64_t accepted = 0;
  for (int64_t number = first; number < first + count; ++number) {
    Random random(static_cast<uint64_t>(number));
    const auto content = make(random);
    std::ofstream(file, std::ios::binary) << content;
    const auto about = "number " + std::to_string(number) + ", " + file.string();
    const auto before = live_bytes.load();
    most_bytes = before;
    try {
      read(file);
      ++accepted;
    } catch (const UserError& error) {
      const std::string line = error.what();
      EXPECT_FALSE(line.empty()) << about;
    } catch (const std::exception& error) {
      ADD_FAILURE() << about << ": " << error.what() << "\n" << content.substr(0, 2000);
    }
    EXPECT_LE(most_bytes - before, 2 * static_cast<int64_t>(content.size()) + kRoom) << about;
    if (testing::Test::HasFailure()) {
      std::ofstream(testing::TempDir() + "accordion-fuzz-input", std::ios::binary) << content;
      break;
    }
  }
  std::printf("%lld files, %lld of them accepted\n", static_cast<long long>(count), static_cast<long long>(accepted));
}

std::vector<std::string> contents(const std::string& folder, const std::string& ending) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(ACCORDION_SOURCE_DIR) / folder))
    if (entry.path().extension() == ending) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> all;
  for (const auto& path : paths) all.push_back(read_file(path));
  return all;
}

constexpr const char* kStory = "The cat sat on the mat. Caf\u00e9 \u4f60\u597d, it said: \"once upon a time\" 12345!\n";

TEST(Fuzz, Recipes) {
  const TemporaryFolder folder;
  const auto recipes = contents("recipes", ".yaml");
  try_all(
      folder / "recipe.yaml", [&](Random& random) { return damaged_lines(random.of(recipes), random); },
      [](const fs::path& file) { load_recipe(file.string()); });
}

TEST(Fuzz, ModelConfigs) {
  const TemporaryFolder folder;
  std::vector<json> configs;
  for (const auto& text : contents("models", ".json")) configs.push_back(json::parse(text));
  auto scaled = configs.front();
  scaled["model_type"] = "llama";
  try_all(
      folder / "config.json", [&](Random& random) { return damaged_json(random.of(configs), random); },
      [](const fs::path& file) {
        const auto config = load_model_config(find_model(file.string()));
        model_config_json(config);
      });
}

TEST(Fuzz, Safetensors) {
  const TemporaryFolder folder;
  write_safetensors(folder / "whole", {{"a.weight", torch::ones({3, 5})}, {"b", torch::zeros({7}, torch::kBFloat16)}},
                    {{"format", "pt"}});
  const auto whole = read_file(folder / "whole");
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  const auto header = json::parse(whole.substr(8, length));
  try_all(
      folder / "model.safetensors",
      [&](Random& random) {
        if (random.one_in(3)) return damaged_bytes(whole, random);
        const auto text = damaged_json(header, random);
        const uint64_t size = text.size();
        return std::string(reinterpret_cast<const char*>(&size), 8) + text + whole.substr(8 + length);
      },
      [](const fs::path& file) { read_safetensors(file); });
}

/// What reads a split reads all of it.
void read_split(const Corpus& corpus) {
  std::vector<int64_t> tokens(static_cast<size_t>(std::min<int64_t>(corpus.tokens(), 1 << 16)));
  for (int64_t at = 0; at + static_cast<int64_t>(tokens.size()) <= corpus.tokens() && !tokens.empty(); at += 1 << 16)
    corpus.read(at, tokens);
}

TEST(Fuzz, Sequences) {
  const TemporaryFolder folder;
  const auto config = load_model_config(find_model("gpt2-124m"));
  auto sequences = json::array();
  for (int64_t i = 1; i < 8; ++i) {
    auto ids = json::array();
    for (int64_t j = 0; j < 150 * i; ++j) ids.push_back(i * j % config.vocabulary);
    sequences.push_back(ids);
  }
  try_all(
      folder / "tokens.json", [&](Random& random) { return damaged_json(sequences, random); },
      [&](const fs::path& file) {
        for (const auto& ids : read_sequences(file.string(), config))
          for (const auto id : ids) ASSERT_LT(static_cast<uint64_t>(id), static_cast<uint64_t>(config.vocabulary));
      });
}

class FuzzCorpus : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder / "text.txt") << kStory;
    std::ofstream(folder / "more.txt") << kStory << kStory;
    PrepareOptions options;
    options.inputs = {(folder / "text.txt").string(), (folder / "more.txt").string()};
    options.tokenizer = "bytes";
    options.out = (folder / "corpus").string();
    options.validation = 0.5;
    prepare(options, [](double, double, int64_t) {});
  }
  void damage_bytes_of(const std::string& name, const std::function<void(const fs::path&)>& read) {
    const auto file = folder / "corpus" / name;
    const auto whole = read_file(file);
    try_all(
        file, [&](Random& random) { return damaged_bytes(whole, random); }, read);
  }
  TemporaryFolder folder;
};

TEST_F(FuzzCorpus, Indexes) {
  damage_bytes_of("train.idx", [](const fs::path& file) { read_split(open_split(file.parent_path(), "train")); });
}

TEST_F(FuzzCorpus, Tokens) {
  damage_bytes_of("train.bin", [](const fs::path& file) { read_split(open_split(file.parent_path(), "train")); });
}

TEST_F(FuzzCorpus, Manifests) {
  const auto file = folder / "corpus/manifest.json";
  const auto whole = json::parse(read_file(file));
  try_all(
      file, [&](Random& random) { return damaged_json(whole, random); },
      [](const fs::path& path) {
        read_manifest(path.parent_path());
        read_split(open_split(path.parent_path(), "validation"));
        Tokenizer::load(path.parent_path().string()).special_tokens();
      });
}

/// Uses of a tokenizer that a command would make.
void use(const Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  tokenizer.encode(kStory, ids);
  tokenizer.encode("", ids);
  tokenizer.encode("<s> a  b </s>\n\n\t ", ids);
  tokenizer.decode(std::vector<int64_t>(ids.begin(), ids.end()));
  tokenizer.vocabulary();
  tokenizer.cut();
  tokenizer.beginning();
  tokenizer.end_of_text();
}

TEST(Fuzz, Tokenizers) {
  const TemporaryFolder folder;
  Tokenizer::load("bytes").save(folder / "");
  auto bytes = json::parse(read_file(folder / "tokenizer.json"));
  bytes["model"]["merges"] = {"t h", "th e", "a t"};
  int32_t next = 300;
  for (const char* token : {"th", "the", "at"}) bytes["model"]["vocab"][token] = next++;
  auto rich = bytes;
  rich["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "NFC"}},
                          {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}},
                          {{"type", "Prepend"}, {"prepend", "\u2581"}}}}};
  rich["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"},
                              {"pattern", {{"Regex", "\\p{N}{1,3}|[^\\s\\p{L}]+"}}},
                              {"behavior", "Isolated"},
                              {"invert", false}},
                             {{"type", "Digits"}, {"individual_digits", true}},
                             bytes["pre_tokenizer"]}}};
  rich["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", json::array()},
      {"special_tokens",
       {{"<|endoftext|>", {{"id", "<|endoftext|>"}, {"ids", {256}}, {"tokens", {"<|endoftext|>"}}}}}}};
  const std::vector<json> all{bytes, rich};
  try_all(
      folder / "tokenizer.json", [&](Random& random) { return damaged_json(random.of(all), random); },
      [](const fs::path& file) { use(Tokenizer::load(file.string())); });
}

TEST(Fuzz, TokenizerConfigs) {
  const TemporaryFolder folder;
  Tokenizer::load("bytes").save(folder / "");
  const json config = {{"eos_token", {{"content", "<|endoftext|>"}, {"special", true}}},
                       {"bos_token", "<|endoftext|>"},
                       {"add_bos_token", true},
                       {"tokenizer_class", "GPT2Tokenizer"},
                       {"model_max_length", 1024}};
  try_all(
      folder / "tokenizer_config.json", [&](Random& random) { return damaged_json(config, random); },
      [&](const fs::path& file) {
        const auto tokenizer = Tokenizer::load(file.parent_path().string());
        use(tokenizer);
        fs::create_directories(folder / "out");
        tokenizer.save(folder / "out");
      });
}

TEST(Fuzz, SentencepieceModels) {
  const TemporaryFolder folder;
  {
    std::ofstream text(folder / "text.txt");
    for (int i = 0; i < 50; ++i) text << kStory << "line " << i << " of a story about words and their parts\n";
  }
  TrainTokenizerOptions options;
  options.inputs = {(folder / "text.txt").string()};
  options.out = (folder / "trained").string();
  options.vocabulary = 320;
  train_tokenizer(options, [](double, double) {});
  const auto whole = read_file(folder / "trained/tokenizer.model");
  try_all(
      folder / "tokenizer.model", [&](Random& random) { return damaged_bytes(whole, random); },
      [](const fs::path& file) { use(Tokenizer::load(file.string())); });
}

TEST(Fuzz, Texts) {
  const TemporaryFolder folder;
  std::string lines, array = "[\n";
  for (int i = 0; i < 40; ++i) {
    const auto row = json{{"text", kStory + std::to_string(i)}, {"meta", {{"n", i}, {"a", {1, 2}}}}}.dump();
    lines += row + "\n";
    array += row + (i < 39 ? ",\n" : "\n]");
  }
  const std::vector<std::string> plain{lines, array, kStory, lines + "{\"text\": NaN}\n"};
  try_all(
      folder / "input",
      [&](Random& random) {
        auto text = random.of(plain);
        if (random.one_in(2)) text = damaged_bytes(std::move(text), random);
        const std::vector<std::string (*)(const std::string&)> packers{gzip, zstd, xz, bzip2};
        const bool packed = random.one_in(2);
        if (packed) text = random.of(packers)(text);
        return packed && random.one_in(2) ? damaged_bytes(std::move(text), random) : text;
      },
      [](const fs::path& file) {
        TextReader reader(find_texts({file.string()}, ""), true, false);
        int64_t damaged = 0;
        while (auto part = reader.next())
          if (part->line > 0) text_of_line(std::move(part->text), "text", file.string(), damaged);
      });
}

}  // namespace
}  // namespace accordion::fuzz
