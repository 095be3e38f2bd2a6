#pragma once

#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/corpus.h"

namespace accordion {

/// A folder that is gone after the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("accordion-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

using Documents = std::vector<std::vector<int32_t>>;

/// Documents of the given lengths whose tokens count upwards from `first`, so that a token tells its place.
inline Documents counting_documents(const std::vector<int64_t>& lengths, int32_t first = 0) {
  Documents documents;
  for (const auto length : lengths) {
    auto& document = documents.emplace_back(static_cast<size_t>(length));
    std::iota(document.begin(), document.end(), first);
    first += static_cast<int32_t>(length);
  }
  return documents;
}

inline nlohmann::json write_split(const std::filesystem::path& prefix, const Documents& documents, TokenType type) {
  CorpusWriter writer(prefix, type);
  for (const auto& document : documents) {
    writer.add(document);
    writer.end_document();
  }
  writer.close();
  return writer.summary();
}

/// A corpus folder with these documents in both splits.
inline std::string write_corpus(const std::filesystem::path& folder, const Documents& documents,
                                int64_t vocabulary = 1 << 20, const std::string& tokenizer_hash = "t") {
  std::filesystem::create_directories(folder);
  nlohmann::json manifest = {{"vocabulary", vocabulary}, {"tokenizer", {{"hash", tokenizer_hash}}}};
  for (const char* split : {"train", "validation"})
    manifest[split] = write_split(folder / split, documents, token_type_for(vocabulary));
  write_file(folder / "manifest.json", manifest.dump());
  return folder.string();
}

}  // namespace accordion
