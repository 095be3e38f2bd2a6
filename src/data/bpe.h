#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "data/hash.h"

namespace accordion {

/// Lets maps with std::string keys be searched with a string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <class T>
using StringMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

/// Short words whose ids are known: a table of 4 MiB in which a word takes the place of another with its hash. A slot
/// is one cache line, so that a word found costs one miss at most.
class WordCache {
 public:
  /// Appends the ids of `word` and returns true if it is known.
  bool find(std::string_view word, std::vector<int32_t>& ids) const;
  void add(std::string_view word, const int32_t* ids, size_t count);

 private:
  struct alignas(64) Slot {
    uint8_t size = 0, count = 0;  // size 0: free
    std::array<char, 22> word;
    std::array<int32_t, 10> ids;
  };
  static size_t place(std::string_view word) { return std::hash<std::string_view>{}(word) % kSlots; }
  static constexpr size_t kSlots = size_t{1} << 16;
  std::vector<Slot> slots_{kSlots};
};

/// What two neighbouring tokens become, and how early in training: open addressing in one array, since half the time of
/// an unknown word goes into looking up pairs.
class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kFree;
    int32_t rank = 0, id = 0;
  };
  /// Adds a merge; for a pair that is there, the later one counts.
  void add(int32_t left, int32_t right, int32_t id, int32_t rank);
  const Merge* find(int32_t left, int32_t right) const {
    const auto* slot = &slots_[place(key(left, right))];
    return slot->pair == kFree ? nullptr : slot;
  }
  bool empty() const { return filled_ == 0; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  /// Of the pair, or of the free slot where it belongs.
  size_t place(uint64_t pair) const {
    size_t at = mix(pair) & (slots_.size() - 1);
    while (slots_[at].pair != pair && slots_[at].pair != kFree) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  std::vector<Merge> slots_{size_t{1} << 10};
  size_t filled_ = 0;
};

/// Byte-pair encoding as in Hugging Face's `tokenizers`: a word begins as bytes (byte-level vocabularies) or
/// characters, and the pair of neighbours that was merged first in training is merged first, leftmost first among
/// equals.
class Bpe {
 public:
  enum class Alphabet { bytes, characters };
  struct Options {
    Alphabet alphabet = Alphabet::bytes;
    bool ignore_merges = false;  // a word that is a token is that token
    bool byte_fallback = false;  // characters without a token become <0xNN>
    bool fuse_unknown = false;
    int32_t unknown = -1;  // id of the unknown token, -1 = none: such characters vanish
  };

  Bpe() = default;
  /// `vocabulary`: text of each token (raw bytes where the alphabet is bytes) to id.
  Bpe(StringMap<int32_t> vocabulary, Options options);
  /// A merge of two tokens into a third; the lowest rank goes first. False where one of the three is no token.
  bool add_merge(std::string_view left, std::string_view right, int32_t rank);

  /// Appends the ids of a word; `cache` holds those of earlier ones.
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;
  /// Same for a long text that no pre-tokenizer cuts: it is cut between characters that stand beside each other in no
  /// token, where no merge can reach across.
  void encode_text(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const;

 private:
  struct Symbol {
    int32_t id, previous, next;
  };
  void begin(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge(std::vector<Symbol>& symbols) const;
  bool joined(char32_t left, char32_t right) const;
  void learn_neighbours();

  StringMap<int32_t> vocabulary_;
  Options options_;
  MergeTable merges_;
  std::array<int32_t, 256> bytes_{};         // id of each byte, or of its <0xNN>; -1 = none
  std::unordered_set<uint64_t> neighbours_;  // characters that stand beside each other in some token
  std::vector<bool> frequent_neighbours_;    // of those, the pairs of ASCII characters and U+2581
  bool cuts_ = false;
};

}  // namespace accordion
