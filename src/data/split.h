#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/regex.h"

namespace accordion {

/// Cuts texts at the matches of a pattern: the Split of a tokenizer.json, and what its other pre-tokenizers come to.
class Split {
 public:
  /// What becomes of a match. `contiguous`: neighbouring matches are one piece.
  enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
  /// The behavior of this name (MergedWithPrevious, ...); none for another.
  static std::optional<Behavior> behavior_of(std::string_view name);

  /// `invert`: what lies between the matches is treated as they would be.
  explicit Split(Regex pattern, Behavior behavior = Behavior::isolated, bool invert = false)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  /// Calls `use` with each piece that is not empty.
  template <class Use>
  void operator()(std::string_view text, Use use) const {
    size_t done = 0;
    if (behavior_ == Behavior::isolated) {  // at once, which is what most tokenizers need for each word
      const auto piece = [&](size_t begin, size_t end) {
        if (begin < end) use(text.substr(begin, end - begin));
      };
      pattern_.each(text, [&](const Regex::Match& match) {
        piece(done, match.begin);
        piece(match.begin, match.end);
        done = match.end;
      });
      return piece(done, text.size());
    }
    std::vector<Piece> pieces;
    pattern_.each(text, [&](const Regex::Match& match) {
      if (done < match.begin) pieces.push_back({done, match.begin, invert_});
      pieces.push_back({match.begin, match.end, !invert_});
      done = match.end;
    });
    if (done < text.size()) pieces.push_back({done, text.size(), invert_});
    for (const auto& piece : merged(pieces))
      if (piece.begin < piece.end) use(text.substr(piece.begin, piece.end - piece.begin));
  }

  bool safe_to_cut() const { return pattern_.safe_to_cut(); }  ///< see Regex

 private:
  struct Piece {
    size_t begin, end;
    bool matched;
  };
  std::vector<Piece> merged(const std::vector<Piece>& pieces) const;

  Regex pattern_;
  Behavior behavior_;
  bool invert_;
};

}  // namespace accordion
