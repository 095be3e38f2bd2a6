#include "data/loader.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/paths.h"
#include "base/text.h"
#include "data/corpus.h"
#include "data/permutation.h"

namespace accordion {
namespace {

/// One corpus of the mixture and how far it has been drawn.
struct Feed {
  std::string path;
  double weight = 1;
  std::shared_ptr<const Corpus> corpus;
  int64_t vocabulary = 0;  // 0 where no manifest says
  int64_t bound = 0;       // ids must lie below it: the vocabulary, or the model's where no manifest says
  std::string tokenizer_hash, content_hash;
};

struct FeedPlace {
  int64_t epoch = 0, drawn = 0;  // documents drawn in this epoch
  int64_t tokens = 0;            // tokens drawn in all
  Permutation order;
};

/// A place in the stream. Copying one and reading from the copy is how the stream looks ahead.
struct Place {
  std::vector<FeedPlace> feeds;
  size_t feed = 0;  // of the open document
  int64_t document = 0, offset = 0;
  int64_t read = 0;  // tokens before this place
  bool open = false;
};

Feed open_feed(const Source& source) {
  Feed feed;
  feed.path = source.path;
  feed.weight = source.weight;
  feed.corpus = std::make_shared<Corpus>(open_split(source.path, "train"));
  if (feed.corpus->tokens() == 0)
    throw UserError(source.path + ": the corpus has no training documents; give `accordion prepare` more text");
  feed.content_hash = feed.corpus->index_hash();
  if (stands(std::filesystem::path(source.path) / "manifest.json")) {
    const auto manifest = read_manifest(source.path);
    feed.vocabulary = feed.bound = manifest["vocabulary"].get<int64_t>();
    feed.tokenizer_hash = manifest["tokenizer"].value("hash", "");
    feed.content_hash = manifest["train"].value("hash", feed.content_hash);
  }
  return feed;
}

}  // namespace

struct Loader::State {
  std::vector<Feed> feeds;
  bool shuffle = true;
  int64_t seed = 0, epoch_tokens = 0;
  Place place;

  int64_t epoch_of(int64_t read) const { return read / epoch_tokens; }

  void begin_epoch(FeedPlace& at, size_t feed) const {
    // Each source has its own order, so that two sources of one size are not visited in step.
    if (shuffle)
      at.order = Permutation(feeds[feed].corpus->documents(), seed + static_cast<int64_t>(feed) * 1000003, at.epoch);
  }

  /// Draws the next document from the source that lags most behind its weight.
  void open_document(Place& at) const {
    auto share = [&](size_t i) { return static_cast<double>(at.feeds[i].tokens) / feeds[i].weight; };
    at.feed = 0;
    for (size_t i = 1; i < feeds.size(); ++i)
      if (share(i) < share(at.feed)) at.feed = i;
    auto& feed = at.feeds[at.feed];
    const auto& corpus = *feeds[at.feed].corpus;
    if (feed.drawn == corpus.documents()) {
      ++feed.epoch;
      feed.drawn = 0;
      begin_epoch(feed, at.feed);
    }
    at.document = shuffle ? feed.order(feed.drawn) : feed.drawn;
    ++feed.drawn;
    feed.tokens += corpus.length(at.document);
    at.offset = 0;
    at.open = corpus.length(at.document) > 0;
  }

  /// Reads the next tokens of the stream and moves on; `pieces` takes the lengths of the documents' pieces among them.
  void read(Place& at, std::span<int64_t> out, std::vector<int64_t>* pieces = nullptr) const {
    while (!out.empty()) {
      while (!at.open) open_document(at);
      const auto& corpus = *feeds[at.feed].corpus;
      const auto left = corpus.length(at.document) - at.offset;
      const auto count = std::min(left, static_cast<int64_t>(out.size()));
      const auto part = out.first(static_cast<size_t>(count));
      corpus.read(corpus.start(at.document) + at.offset, part);
      check(feeds[at.feed], part);
      if (pieces) pieces->push_back(count);
      at.offset += count;
      at.read += count;
      at.open = count < left;
      out = out.subspan(static_cast<size_t>(count));
    }
  }

  static void check(const Feed& feed, std::span<const int64_t> tokens) {
    if (feed.bound == 0) return;
    for (const auto token : tokens) {
      if (token >= 0 && token < feed.bound) continue;
      const auto start = feed.path + ": token " + std::to_string(token) + " lies outside ";
      if (feed.vocabulary == 0)
        throw UserError(start + "the model's vocabulary of " + std::to_string(feed.bound) +
                        "; choose a model with a larger one, or prepare the corpus with the model's tokenizer");
      throw UserError(start + "its vocabulary of " + std::to_string(feed.vocabulary) +
                      ": the corpus is damaged; run `accordion prepare` again");
    }
  }
};

Loader::Loader(const std::vector<Source>& sources, bool shuffle, int64_t seed) : state_(std::make_unique<State>()) {
  if (sources.empty()) throw UserError("data.train names no corpus");
  state_->shuffle = shuffle;
  state_->seed = seed;
  for (const auto& source : sources) {
    if (!(source.weight > 0))
      throw UserError(source.path + ": its weight must be above 0; leave the source out instead");
    state_->feeds.push_back(open_feed(source));
    const auto &first = state_->feeds.front(), &feed = state_->feeds.back();
    if (feed.tokenizer_hash != first.tokenizer_hash)
      throw UserError(feed.path + " and " + first.path +
                      " were prepared with different tokenizers; prepare both with the same one");
    state_->epoch_tokens += feed.corpus->tokens();
  }
  state_->place.feeds.resize(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) state_->begin_epoch(state_->place.feeds[i], i);
}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;

Batch Loader::next(int64_t rows, int64_t length, int64_t read_length, int64_t eos) {
  if (read_length == 0) read_length = length;
  if (rows < 1 || length < 1 || read_length < length)
    throw std::logic_error("a batch needs rows, a length, and no less read");
  const auto& state = *state_;
  auto& place = state_->place;
  Batch batch;
  batch.rows = rows;
  batch.length = length;
  batch.inputs.resize(static_cast<size_t>(rows * length));
  batch.targets.resize(batch.inputs.size());
  batch.pieces.resize(static_cast<size_t>(rows));
  const auto before = place.read;
  std::vector<int64_t> row(static_cast<size_t>(length + 1)), tail(static_cast<size_t>(read_length - length));
  for (int64_t r = 0; r < rows; ++r) {
    state.read(place, std::span(row).first(static_cast<size_t>(length)), &batch.pieces[static_cast<size_t>(r)]);
    auto ahead = place;
    state.read(ahead, std::span(row).last(1));
    state.read(place, tail);
    if (!tail.empty() && eos >= 0) row.back() = eos;
    std::copy(row.begin(), row.end() - 1, batch.inputs.begin() + r * length);
    std::copy(row.begin() + 1, row.end(), batch.targets.begin() + r * length);
  }
  batch.read = place.read - before;
  batch.epoch = state.epoch_of(place.read - 1);
  batch.new_epoch = before > 0 && batch.epoch != state.epoch_of(before - 1);
  return batch;
}

nlohmann::json Loader::cursor() const {
  const auto& place = state_->place;
  auto feeds = nlohmann::json::array();
  for (const auto& feed : place.feeds)
    feeds.push_back({{"epoch", feed.epoch}, {"drawn", feed.drawn}, {"tokens", feed.tokens}});
  return {{"sources", feeds},       {"source", place.feed}, {"document", place.document},
          {"offset", place.offset}, {"open", place.open},   {"read", place.read}};
}

void Loader::restore(const nlohmann::json& cursor) {
  Place place;
  const auto& feeds = cursor.at("sources");
  if (feeds.size() != state_->feeds.size())
    throw UserError("the checkpoint was trained on another number of corpora; restore data.train");
  for (size_t i = 0; i < feeds.size(); ++i) {
    auto& feed = place.feeds.emplace_back();
    feed.epoch = feeds[i].at("epoch").get<int64_t>();
    feed.drawn = feeds[i].at("drawn").get<int64_t>();
    feed.tokens = feeds[i].at("tokens").get<int64_t>();
    state_->begin_epoch(feed, i);
  }
  place.feed = cursor.at("source").get<size_t>();
  place.document = cursor.at("document").get<int64_t>();
  place.offset = cursor.at("offset").get<int64_t>();
  place.open = cursor.at("open").get<bool>();
  place.read = cursor.at("read").get<int64_t>();
  if (place.feed >= feeds.size() || place.document >= state_->feeds[place.feed].corpus->documents())
    throw UserError("the checkpoint's place in the corpus lies outside it: the corpus changed");
  state_->place = std::move(place);
}

int64_t Loader::tokens() const { return state_->epoch_tokens; }

void Loader::expect_ids_below(int64_t vocabulary) {
  for (auto& feed : state_->feeds)
    if (feed.vocabulary == 0) feed.bound = vocabulary;
}

int64_t Loader::vocabulary() const { return state_->feeds.front().vocabulary; }

nlohmann::json Loader::fingerprint() const {
  auto sources = nlohmann::json::array();
  for (const auto& feed : state_->feeds)
    sources.push_back({{"path", as_utf8(feed.path)},
                       {"tokens", feed.corpus->tokens()},
                       {"documents", feed.corpus->documents()},
                       {"hash", feed.content_hash}});
  return sources;
}

int64_t validation_tokens(const std::string& corpus, int64_t tokens, int64_t longest) {
  const auto available = open_split(corpus, "validation").tokens() - 1;  // the last token has no successor to predict
  if (available < 1)
    throw UserError(
        corpus + ": its validation split is empty; prepare it with two documents or more and `--validation` above 0");
  tokens = std::min(tokens, available);
  return tokens < longest ? tokens : tokens / longest * longest;
}

std::vector<Batch> validation_batches(const std::string& corpus, int64_t length, int64_t tokens, int64_t rows) {
  const auto split = open_split(corpus, "validation");
  if (tokens >= split.tokens())
    throw std::logic_error("more validation tokens than the split has: see validation_tokens()");
  std::vector<Batch> batches;
  int64_t document = 0;  // that holds the next token
  for (int64_t at = 0; at < tokens;) {
    Batch batch;
    batch.rows = std::clamp<int64_t>((tokens - at) / length, 1, rows);
    batch.length = std::min(length, tokens - at);
    const auto size = batch.read = batch.rows * batch.length;
    batch.inputs.resize(static_cast<size_t>(size));
    batch.targets.resize(static_cast<size_t>(size));
    split.read(at, batch.inputs);
    split.read(at + 1, batch.targets);
    for (int64_t r = 0; r < batch.rows; ++r) {
      auto& pieces = batch.pieces.emplace_back();
      for (const auto end = at + batch.length; at < end;) {
        while (split.start(document + 1) <= at) ++document;
        pieces.push_back(std::min(end, split.start(document + 1)) - at);
        at += pieces.back();
      }
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

}  // namespace accordion
