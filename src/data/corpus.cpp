#include "data/corpus.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr char kMagic[] = "MMIDIDX\0";  // nine bytes with the terminating zero
constexpr size_t kHeader = sizeof kMagic + 8 + 1 + 8 + 8;
// Lengths are int32 in the index: a longer document is stored as several sequences.
constexpr int64_t kLongestSequence = int64_t{1} << 30;

fs::path with(const fs::path& prefix, const char* extension) { return prefix.string() + extension; }

int64_t width(TokenType type) { return type == TokenType::uint16 ? 2 : 4; }

template <class T>
T value_at(const MappedFile& file, size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);  // the format does not align its fields
  return value;
}

template <class T>
void put(OutputFile& file, T value) {
  file.write(&value, sizeof value);
}

UserError damaged(const fs::path& path, const std::string& what) {
  return UserError(path.string() + ": " + what + "; run `accordion prepare` again");
}

}  // namespace

TokenType token_type_for(int64_t vocabulary) { return vocabulary < 65500 ? TokenType::uint16 : TokenType::int32; }

Corpus::Corpus(const fs::path& prefix) : bin_(with(prefix, ".bin")) {
  const auto index_path = with(prefix, ".idx");
  const MappedFile index(index_path);
  if (index.size() < kHeader || std::memcmp(index.data(), kMagic, sizeof kMagic) != 0)
    throw damaged(index_path, "not an index of a tokenized corpus (MMIDIDX)");
  if (value_at<uint64_t>(index, sizeof kMagic) != 1) throw damaged(index_path, "its version is not 1");
  const auto code = value_at<uint8_t>(index, sizeof kMagic + 8);
  type_ = static_cast<TokenType>(code);
  if (type_ != TokenType::int32 && type_ != TokenType::uint16)
    throw damaged(index_path, "token type " + std::to_string(code) + " is not int32 (4) or uint16 (8)");
  const auto sequences = value_at<uint64_t>(index, sizeof kMagic + 9),
             marks = value_at<uint64_t>(index, sizeof kMagic + 17);
  if (sequences > index.size() || marks > index.size() || marks < 1 ||
      index.size() < kHeader + sequences * (4 + 8) + marks * 8)
    throw damaged(index_path, "cut off");
  const size_t lengths = kHeader, pointers = lengths + sequences * 4, documents = pointers + sequences * 8;
  std::vector<int64_t> sequence_starts(sequences + 1);
  for (uint64_t i = 0; i < sequences; ++i) {
    const auto length = value_at<int32_t>(index, lengths + i * 4);
    if (length < 0 || value_at<int64_t>(index, pointers + i * 8) != sequence_starts[i] * width(type_))
      throw damaged(index_path, "its sequences do not follow one another");
    sequence_starts[i + 1] = sequence_starts[i] + length;
  }
  if (static_cast<uint64_t>(sequence_starts.back() * width(type_)) != bin_.size())
    throw damaged(with(prefix, ".bin"), "its size is not what the index says");
  starts_.reserve(marks);
  for (uint64_t i = 0; i < marks; ++i) {
    const auto mark = value_at<int64_t>(index, documents + i * 8);
    if (mark < 0 || static_cast<uint64_t>(mark) > sequences) throw damaged(index_path, "a document lies outside");
    const auto start = sequence_starts[static_cast<size_t>(mark)];
    if (!starts_.empty() && start < starts_.back()) throw damaged(index_path, "its documents are out of order");
    starts_.push_back(start);
  }
  if (starts_.front() != 0 || starts_.back() != sequence_starts.back())
    throw damaged(index_path, "its documents leave tokens out");
  Hash hash;
  hash.add(std::string_view(reinterpret_cast<const char*>(index.data()), index.size()));
  index_hash_ = hash.text();
}

void Corpus::read(int64_t from, std::span<int64_t> out) const {
  if (from < 0 || from + static_cast<int64_t>(out.size()) > tokens()) throw std::logic_error("read beyond the corpus");
  if (type_ == TokenType::uint16) {
    const auto* tokens = reinterpret_cast<const uint16_t*>(bin_.data()) + from;
    std::copy(tokens, tokens + out.size(), out.begin());
  } else {
    const auto* tokens = reinterpret_cast<const int32_t*>(bin_.data()) + from;
    std::copy(tokens, tokens + out.size(), out.begin());
  }
}

CorpusWriter::CorpusWriter(fs::path prefix, TokenType type)
    : prefix_(std::move(prefix)), type_(type), bin_(with(prefix_, ".bin")) {}

void CorpusWriter::add(std::span<const int32_t> tokens) {
  if (open_ == 0) hash_before_last_ = hash_;
  open_ += static_cast<int64_t>(tokens.size());
  for (const auto token : tokens) hash_.add(static_cast<uint64_t>(token));
  if (type_ == TokenType::int32) return bin_.write(tokens.data(), tokens.size_bytes());
  narrow_.assign(tokens.begin(), tokens.end());
  bin_.write(narrow_.data(), narrow_.size() * sizeof(uint16_t));
}

int64_t CorpusWriter::end_document() {
  lengths_.push_back(open_);
  tokens_ += open_;
  return std::exchange(open_, 0);
}

void CorpusWriter::move_last_document(CorpusWriter& other) {
  bin_.flush();
  const auto path = with(prefix_, ".bin");
  const MappedFile written(path);
  std::vector<int32_t> block;
  const auto last = lengths_.back(), start = tokens_ - last;
  for (int64_t at = start; at < tokens_; at += static_cast<int64_t>(block.size())) {
    block.resize(static_cast<size_t>(std::min<int64_t>(tokens_ - at, 1 << 20)));
    if (type_ == TokenType::uint16) {
      const auto* tokens = reinterpret_cast<const uint16_t*>(written.data()) + at;
      std::copy(tokens, tokens + block.size(), block.begin());
    } else {
      std::memcpy(block.data(), written.data() + at * width(type_), block.size() * sizeof(int32_t));
    }
    other.add(block);
  }
  other.end_document();
  cut_file(path, static_cast<uint64_t>(start * width(type_)));
  lengths_.pop_back();
  tokens_ = start;
  hash_ = hash_before_last_;
}

void CorpusWriter::close() {
  bin_.close();
  OutputFile index(with(prefix_, ".idx"));
  std::vector<int32_t> sequences;
  std::vector<int64_t> marks{0};
  for (auto rest : lengths_) {
    for (; rest > kLongestSequence; rest -= kLongestSequence)
      sequences.push_back(static_cast<int32_t>(kLongestSequence));
    sequences.push_back(static_cast<int32_t>(rest));
    marks.push_back(static_cast<int64_t>(sequences.size()));
  }
  index.write(kMagic, sizeof kMagic);
  put(index, uint64_t{1});
  put(index, static_cast<uint8_t>(type_));
  put(index, static_cast<uint64_t>(sequences.size()));
  put(index, static_cast<uint64_t>(marks.size()));
  index.write(sequences.data(), sequences.size() * sizeof(int32_t));
  int64_t pointer = 0;
  for (const auto length : sequences) {
    put(index, pointer);
    pointer += length * width(type_);
  }
  index.write(marks.data(), marks.size() * sizeof(int64_t));
  index.close();
}

nlohmann::json CorpusWriter::summary() const {
  std::vector<int64_t> histogram;  // [i]: documents of 2^i .. 2^(i+1) - 1 tokens
  for (const auto length : lengths_) {
    size_t power = 0;
    while (length >> (power + 1) > 0) ++power;
    if (histogram.size() <= power) histogram.resize(power + 1);
    ++histogram[power];
  }
  auto lengths = nlohmann::json::array();
  for (size_t power = 0; power < histogram.size(); ++power)
    if (histogram[power] > 0) lengths.push_back({{"from", int64_t{1} << power}, {"documents", histogram[power]}});
  const auto longest = lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end());
  return {{"documents", documents()},
          {"tokens", tokens_},
          {"longest", longest},
          {"lengths", lengths},
          {"hash", hash_.text()}};
}

nlohmann::json read_manifest(const fs::path& folder) {
  const auto path = folder / "manifest.json";
  if (!stands(path))
    throw UserError(folder.string() +
                    ": no corpus here (no manifest.json); make one with `accordion prepare TEXT --tokenizer T --out " +
                    folder.string() + "`");
  auto manifest = nlohmann::json::parse(read_file(path), nullptr, false);
  const auto has = [&](const char* key, auto is) { return manifest.contains(key) && (manifest[key].*is)(); };
  using Json = nlohmann::json;
  if (!manifest.is_object() || !has("vocabulary", &Json::is_number_integer) || !has("tokenizer", &Json::is_object) ||
      !has("train", &Json::is_object))
    throw damaged(path, "not the manifest of a corpus");
  return manifest;
}

Corpus open_split(const fs::path& corpus, const std::string& split) {
  if (!is_folder(corpus) && stands(with(corpus, ".idx"))) return Corpus(corpus);
  if (!stands(corpus))
    throw UserError(corpus.string() + ": no such corpus; make it with `accordion prepare`, or correct the path");
  if (!stands(corpus / (split + ".idx"))) read_manifest(corpus);  // says what is missing
  return Corpus(corpus / split);
}

}  // namespace accordion
