#include "data/bpe.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include "base/text.h"
#include "data/utf8.h"

namespace accordion {
namespace {

constexpr char32_t kSpaceMark = 0x2581;  // sentencepiece writes a space as U+2581
constexpr size_t kFrequent = 129;        // ASCII and the space mark

size_t frequent_index(char32_t character) {
  return character < 128 ? character : character == kSpaceMark ? 128 : kFrequent;
}

uint64_t pair_key(uint64_t left, uint64_t right) { return left << 32 | right; }

}  // namespace

bool WordCache::find(std::string_view word, std::vector<int32_t>& ids) const {
  const auto& slot = slots_[place(word)];
  if (slot.size != word.size() || std::memcmp(slot.word.data(), word.data(), word.size()) != 0) return false;
  ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.count);
  return true;
}

void WordCache::add(std::string_view word, const int32_t* ids, size_t count) {
  auto& slot = slots_[place(word)];
  if (word.empty() || word.size() > slot.word.size() || count > slot.ids.size()) return;
  slot.size = static_cast<uint8_t>(word.size());
  slot.count = static_cast<uint8_t>(count);
  std::copy(word.begin(), word.end(), slot.word.begin());
  std::copy(ids, ids + count, slot.ids.begin());
}

void MergeTable::add(int32_t left, int32_t right, int32_t id, int32_t rank) {
  if (2 * (filled_ + 1) > slots_.size()) {
    std::vector<Merge> larger(2 * slots_.size());
    larger.swap(slots_);
    for (const auto& merge : larger)
      if (merge.pair != kFree) slots_[place(merge.pair)] = merge;
  }
  auto& slot = slots_[place(key(left, right))];
  filled_ += slot.pair == kFree;
  slot = {key(left, right), rank, id};
}

Bpe::Bpe(StringMap<int32_t> vocabulary, Options options) : vocabulary_(std::move(vocabulary)), options_(options) {
  bytes_.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    const auto name =
        options_.alphabet == Alphabet::bytes ? std::string(1, static_cast<char>(byte)) : format("<0x%02X>", byte);
    if (const auto found = vocabulary_.find(name); found != vocabulary_.end())
      bytes_[static_cast<size_t>(byte)] = found->second;
  }
  learn_neighbours();
}

void Bpe::learn_neighbours() {
  // A run of unknown characters becomes one token where they are fused, and a whole text may be a token where merges
  // are ignored: then nothing may be cut. Byte-level vocabularies always come with a pre-tokenizer, or without merges.
  cuts_ = options_.alphabet == Alphabet::characters && !options_.ignore_merges &&
          (options_.unknown < 0 || options_.byte_fallback || !options_.fuse_unknown);
  if (!cuts_) return;
  frequent_neighbours_.assign(kFrequent * kFrequent, false);
  for (const auto& [token, id] : vocabulary_) {
    size_t at = 0;
    for (char32_t left = token.empty() ? 0 : next_character(token, at); at < token.size();) {
      const auto right = next_character(token, at);
      const auto i = frequent_index(left), j = frequent_index(right);
      if (i < kFrequent && j < kFrequent) {
        frequent_neighbours_[i * kFrequent + j] = true;
      } else {
        neighbours_.insert(pair_key(left, right));
      }
      left = right;
    }
  }
}

bool Bpe::add_merge(std::string_view left, std::string_view right, int32_t rank) {
  const auto a = vocabulary_.find(left), b = vocabulary_.find(right),
             merged = vocabulary_.find(std::string(left).append(right));
  if (a == vocabulary_.end() || b == vocabulary_.end() || merged == vocabulary_.end()) return false;
  const auto is_byte = [&](int32_t id) { return std::find(bytes_.begin(), bytes_.end(), id) != bytes_.end(); };
  if (cuts_ && (is_byte(a->second) || is_byte(b->second))) cuts_ = false;  // such a merge may join any two characters
  merges_.add(a->second, b->second, merged->second, rank);
  return true;
}

bool Bpe::joined(char32_t left, char32_t right) const {
  const auto i = frequent_index(left), j = frequent_index(right);
  if (i < kFrequent && j < kFrequent) return frequent_neighbours_[i * kFrequent + j];
  return neighbours_.contains(pair_key(left, right));
}

void Bpe::begin(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id) {
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, place - 1, place + 1});
  };
  bool fuse = false;
  for (size_t at = 0; at < word.size();) {
    if (options_.alphabet == Alphabet::bytes) {
      const auto id = bytes_[static_cast<unsigned char>(word[at++])];
      if (id >= 0) add(id);
      continue;
    }
    const size_t start = at;
    next_character(word, at);
    const auto character = word.substr(start, at - start);
    const auto found = vocabulary_.find(character);
    if (found != vocabulary_.end()) {
      add(found->second);
      fuse = false;
      continue;
    }
    const auto byte_id = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(character.begin(), character.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : character) add(byte_id(byte));
    } else if (options_.unknown >= 0) {
      if (!(fuse && options_.fuse_unknown)) add(options_.unknown);
      fuse = true;
    }
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  struct Candidate {
    int32_t rank, place, id;
    bool operator<(const Candidate& other) const {  // the queue's top is the largest
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t place) {
    if (place < 0 || symbols[static_cast<size_t>(place)].next < 0) return;
    const auto& left = symbols[static_cast<size_t>(place)];
    if (const auto* found = merges_.find(left.id, symbols[static_cast<size_t>(left.next)].id))
      queue.push({found->rank, place, found->id});
  };
  for (int32_t place = 0; place < static_cast<int32_t>(symbols.size()); ++place) consider(place);
  while (!queue.empty()) {
    const auto top = queue.top();
    queue.pop();
    auto& left = symbols[static_cast<size_t>(top.place)];
    if (left.id < 0 || left.next < 0) continue;
    auto& right = symbols[static_cast<size_t>(left.next)];
    const auto* still = merges_.find(left.id, right.id);
    if (!still || still->id != top.id) continue;  // one of the two was merged meanwhile
    left.id = top.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.place;
    consider(left.previous);
    consider(top.place);
  }
}

void Bpe::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  if (cache.find(word, ids)) return;
  const size_t before = ids.size();
  const auto whole = options_.ignore_merges ? vocabulary_.find(word) : vocabulary_.end();
  if (whole != vocabulary_.end()) {
    ids.push_back(whole->second);
  } else {
    thread_local std::vector<Symbol> symbols;
    begin(word, symbols);
    if (!merges_.empty()) merge(symbols);
    for (const auto& symbol : symbols)
      if (symbol.id >= 0) ids.push_back(symbol.id);
  }
  cache.add(word, ids.data() + before, ids.size() - before);
}

void Bpe::encode_text(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
  if (!cuts_) return encode(text, cache, ids);
  size_t start = 0, at = 0;
  char32_t left = text.empty() ? 0 : next_character(text, at);
  while (at < text.size()) {
    const size_t between = at;
    const auto right = next_character(text, at);
    if (!joined(left, right)) {
      encode(text.substr(start, between - start), cache, ids);
      start = between;
    }
    left = right;
  }
  if (start < text.size()) encode(text.substr(start), cache, ids);
}

}  // namespace accordion
