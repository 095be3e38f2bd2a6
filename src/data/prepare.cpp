#include "data/prepare.h"

#include <deque>
#include <future>
#include <mutex>
#include <semaphore>

#include "base/error.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/paths.h"
#include "data/corpus.h"
#include "data/json_text.h"
#include "data/text_input.h"
#include "data/tokenizer.h"
#include "data/tokenizer_files.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr const char* kFormat = "accordion corpus";
constexpr size_t kBatch = size_t{256} << 10;  // bytes of text a worker encodes at a time

/// Parts of texts, encoded. Document i ends before ids[ends[i]]; what follows the last end belongs to a document that
/// goes on in the next batch.
struct Encoded {
  std::vector<int32_t> ids;
  std::vector<size_t> ends;
  int64_t damaged = 0, empty = 0;
};

/// Tokenizers for as many workers as may encode at once: each has its own cache of words, warm from batch to batch.
class TokenizerPool {
 public:
  TokenizerPool(const Tokenizer& tokenizer, int size) : available_(size) {
    for (int i = 0; i < size; ++i) free_.push_back(std::make_unique<Tokenizer>(tokenizer));
  }
  template <class Use>
  auto with(Use use) {
    available_.acquire();
    auto tokenizer = take();
    struct Return {  // also where `use` throws
      TokenizerPool& pool;
      std::unique_ptr<Tokenizer>& tokenizer;
      ~Return() {
        const std::lock_guard lock(pool.mutex_);
        pool.free_.push_back(std::move(tokenizer));
        pool.available_.release();
      }
    } give_back{*this, tokenizer};
    return use(*tokenizer);
  }

 private:
  std::unique_ptr<Tokenizer> take() {
    const std::lock_guard lock(mutex_);
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  std::mutex mutex_;
  std::vector<std::unique_ptr<Tokenizer>> free_;
  std::counting_semaphore<> available_;
};

Encoded encode(const Tokenizer& tokenizer, std::vector<TextPart> parts, const std::vector<fs::path>& files,
               const std::string& field) {
  Encoded made;
  const auto end_of_text = static_cast<int32_t>(tokenizer.end_of_text());
  for (auto& part : parts) {
    if (part.line > 0) {
      if (part.text.find_first_not_of(" \t\r") == std::string::npos) continue;  // a blank line
      part.text = text_of_line(std::move(part.text), field, files[part.file].string() + ":" + std::to_string(part.line),
                               made.damaged);
    } else {
      made.damaged += repair_utf8(part.text);
    }
    if (part.text.empty()) {
      ++made.empty;
      continue;
    }
    tokenizer.encode(part.text, made.ids);
    if (!part.last) continue;
    made.ids.push_back(end_of_text);
    made.ends.push_back(made.ids.size());
  }
  return made;
}

/// One corpus in the making: a train and a validation split.
class CorpusMaker {
 public:
  CorpusMaker(const fs::path& folder, const Tokenizer& tokenizer, double validation)
      : folder_((make_folders(folder), folder)),
        share_(validation),
        train_(folder_ / "train", token_type_for(tokenizer.vocabulary())),
        validation_(folder_ / "validation", token_type_for(tokenizer.vocabulary())) {
    differences_ = tokenizer.save(folder_);
  }

  void add(std::span<const int32_t> ids) { (open_to_validation() ? validation_ : train_).add(ids); }
  void end_document() {
    (open_to_validation() ? validation_ : train_).end_document();
    ++documents_;
  }

  nlohmann::json finish(const Tokenizer& tokenizer, nlohmann::json source) {
    // Too few documents for the share: one at least, so that there is something to evaluate on, and one to train on.
    if (share_ > 0 && documents_ > 1 && validation_.documents() == 0) train_.move_last_document(validation_);
    if (documents_ > 0 && train_.documents() == 0) validation_.move_last_document(train_);
    train_.close();
    validation_.close();
    const nlohmann::json manifest = {
        {"format", kFormat},
        {"version", 1},
        {"tokenizer", {{"name", tokenizer.name()}, {"hash", tokenizer.hash()}}},
        {"vocabulary", tokenizer.vocabulary()},
        {"end_of_text", tokenizer.end_of_text()},
        {"end_of_text_token", tokenizer.special_tokens().end->name},
        {"end_of_text_from", tokenizer.special_tokens().end->origin},
        {"begin_of_text", nullptr},  // nothing goes before a document
        {"type", token_type_for(tokenizer.vocabulary()) == TokenType::uint16 ? "uint16" : "int32"},
        {"train", train_.summary()},
        {"validation", validation_.summary()},
        {"source", std::move(source)}};
    write_file(folder_ / "manifest.json", json_text(manifest, 2) + "\n");
    return manifest;
  }
  int64_t documents() const { return documents_; }
  const std::vector<std::string>& differences() const { return differences_; }

 private:
  /// Of every 1 / share documents, one at a random place goes to validation: the exact share, spread over the whole
  /// corpus.
  bool open_to_validation() const {
    const auto stratum = static_cast<uint64_t>(static_cast<double>(documents_) * share_);
    const double place = (static_cast<double>(stratum) + static_cast<double>(mix(stratum) >> 11) * 0x1p-53) / share_;
    return share_ > 0 && documents_ == static_cast<int64_t>(place);
  }

  fs::path folder_;
  double share_;
  int64_t documents_ = 0;                 // ended; the number of the open one
  std::vector<std::string> differences_;  // of the tokenizer's files in other programs
  CorpusWriter train_, validation_;
};

/// Sends each document to its corpus: the only one, or by length to the short or the long one.
class Router {
 public:
  Router(const PrepareOptions& options, const fs::path& folder, const Tokenizer& tokenizer)
      : threshold_(options.split) {
    for (const char* name : {"short", "long"})
      if (threshold_ > 0)
        corpora_.push_back(std::make_unique<CorpusMaker>(folder / name, tokenizer, options.validation));
    if (threshold_ == 0) corpora_.push_back(std::make_unique<CorpusMaker>(folder, tokenizer, options.validation));
  }

  void add(std::span<const int32_t> ids) {
    tokens_ += static_cast<int64_t>(ids.size());
    if (threshold_ == 0 || long_) return corpora_.back()->add(ids);
    held_.insert(held_.end(), ids.begin(), ids.end());
    if (static_cast<int64_t>(held_.size()) < threshold_) return;
    long_ = true;
    corpora_.back()->add(held_);
    held_.clear();
  }
  void end_document() {
    auto& corpus = long_ ? *corpora_.back() : *corpora_.front();
    if (!held_.empty()) corpus.add(held_);
    corpus.end_document();
    held_.clear();
    long_ = false;
  }
  nlohmann::json finish(const Tokenizer& tokenizer, const nlohmann::json& source) {
    auto manifests = nlohmann::json::array();
    for (auto& corpus : corpora_) {
      if (corpus->documents() == 0 && threshold_ > 0)
        throw UserError("--split " + std::to_string(threshold_) + ": all documents are " +
                        (corpus == corpora_.front() ? "that long or longer" : "shorter") +
                        ", and one of the two corpora would be empty; choose another length");
      manifests.push_back(corpus->finish(tokenizer, source));
    }
    return manifests;
  }
  int64_t tokens() const { return tokens_; }
  const std::vector<std::string>& differences() const { return corpora_.front()->differences(); }

 private:
  int64_t threshold_, tokens_ = 0;
  std::vector<std::unique_ptr<CorpusMaker>> corpora_;
  std::vector<int32_t> held_;  // the open document, while it may still prove short
  bool long_ = false;          // the open document proved long
};

/// Reads batches, has the workers encode them, and routes the results in the order they were read.
class Pipeline {
 public:
  Pipeline(const PrepareOptions& options, const Tokenizer& tokenizer, const std::vector<fs::path>& files)
      : options_(options),
        files_(files),
        pool_(tokenizer, options.workers),
        reader_(files, tokenizer.cut() != Tokenizer::Cut::none, tokenizer.cut() == Tokenizer::Cut::drop_space,
                options.input_kind) {}

  void run(Router& router, const PrepareProgress& progress) {
    // Twice the workers are on their way, so that none waits while the oldest result is written.
    for (bool more = true; more || !underway_.empty();) {
      while (more && underway_.size() < 2 * static_cast<size_t>(options_.workers)) more = send();
      if (underway_.empty()) return;
      const auto encoded = underway_.front().get();
      underway_.pop_front();
      write(encoded, router);
      progress(reader_.bytes_read(), reader_.bytes_total(), router.tokens());
    }
  }

  nlohmann::json source() const {
    return {{"files", files_.size()},
            {"bytes", static_cast<int64_t>(reader_.bytes_of_text())},
            {"damaged_utf8", damaged_},
            {"empty_documents", empty_}};
  }

 private:
  /// Sends a batch to the workers; false at the end of the text.
  bool send() {
    std::vector<TextPart> parts;
    bool more = true;
    for (size_t bytes = 0; bytes < kBatch && more;) {
      auto part = reader_.next();
      more = part.has_value();
      if (!part) break;
      bytes += part->text.size() + 1;
      parts.push_back(std::move(*part));
    }
    if (parts.empty()) return false;
    underway_.push_back(std::async(std::launch::async, [this, parts = std::move(parts)]() mutable {
      return pool_.with(
          [&](const Tokenizer& tokenizer) { return encode(tokenizer, std::move(parts), files_, options_.text_field); });
    }));
    return more;
  }

  void write(const Encoded& encoded, Router& router) {
    damaged_ += encoded.damaged;
    empty_ += encoded.empty;
    const std::span<const int32_t> ids(encoded.ids);
    size_t begin = 0;
    for (const auto end : encoded.ends) {
      router.add(ids.subspan(begin, end - begin));
      router.end_document();
      begin = end;
    }
    if (begin < ids.size()) router.add(ids.subspan(begin));
  }

  const PrepareOptions& options_;
  const std::vector<fs::path>& files_;
  TokenizerPool pool_;
  TextReader reader_;
  std::deque<std::future<Encoded>> underway_;  // waited for before what the workers use goes away
  int64_t damaged_ = 0, empty_ = 0;
};

bool is_corpus(const fs::path& folder) {
  const auto path = folder / "manifest.json";
  if (!stands(path)) return stands(folder / "short") && is_corpus(folder / "short");
  const auto manifest = nlohmann::json::parse(read_file(path), nullptr, false);
  return manifest.is_object() && manifest.value("format", nlohmann::json()) == kFormat;
}

/// Something in the folder that prepare() did not write there.
std::optional<fs::path> foreign_entry(const fs::path& folder) {
  for (const auto& entry : content_of(folder)) {
    const auto name = entry.filename().string();
    if (is_link(entry)) return entry;
    if (name == "short" || name == "long") {
      if (const auto found = foreign_entry(entry)) return found;
      continue;
    }
    if (name != "manifest.json" && !name.starts_with("train.") && !name.starts_with("validation.") &&
        !is_tokenizer_file(name))
      return entry;
  }
  return std::nullopt;
}

/// `out` will be replaced: only by a corpus what is a corpus, and never what is being read or somebody put beside it.
void check_out(const fs::path& out, const std::vector<fs::path>& files) {
  const auto folder = resolved(out);
  if (!stands(folder)) return;
  if (!is_folder(folder)) throw UserError(out.string() + ": is a file; give --out a folder");
  if (!content_of(folder).empty() && !is_corpus(folder))
    throw UserError(out.string() +
                    ": the folder holds something other than a corpus and would be replaced; give --out another one");
  for (const auto& file : files)
    if (resolved(file).string().starts_with((folder / "").string()))
      throw UserError(out.string() + ": would be replaced, and " + file.string() +
                      " lies in it; give --out another folder");
  if (const auto entry = foreign_entry(folder))
    throw UserError(out.string() + ": would be replaced, and " + entry->filename().string() +
                    " in it is no part of the corpus; move that elsewhere, or give --out another folder");
}

}  // namespace

nlohmann::json prepare(const PrepareOptions& options, const PrepareProgress& progress) {
  const auto files = find_texts(options.inputs, options.glob, options.input_kind);
  check_out(options.out, files);
  const auto tokenizer = Tokenizer::load(options.tokenizer, options.end_of_text);
  tokenizer.end_of_text();  // a refusal comes before any work
  nlohmann::json result;
  write_folder(options.out, [&](const fs::path& folder) {
    Router router(options, folder, tokenizer);
    Pipeline pipeline(options, tokenizer, files);
    pipeline.run(router, progress);
    if (router.tokens() == 0) throw UserError(options.inputs.front() + ": there is no text in the input");
    result = pipeline.source();
    result["tokens"] = router.tokens();
    result["corpora"] = router.finish(tokenizer, pipeline.source());
    const auto& end = *tokenizer.special_tokens().end;
    result["end_of_text"] = "documents end with " + end.text() + ", from " + end.origin;
    result["notices"] = tokenizer.special_tokens().notices;
    for (const auto& difference : router.differences())
      result["notices"].push_back("in the tokenizer.json for other programs the ids differ for " + difference);
    progress(result["bytes"].get<double>(), result["bytes"].get<double>(), router.tokens());  // the last place to stop
  });
  return result;
}

}  // namespace accordion
