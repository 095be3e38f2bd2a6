#include "data/split.h"

#include <algorithm>

namespace accordion {

std::optional<Split::Behavior> Split::behavior_of(std::string_view name) {
  constexpr std::pair<std::string_view, Behavior> kNames[] = {{"Isolated", Behavior::isolated},
                                                              {"Removed", Behavior::removed},
                                                              {"MergedWithPrevious", Behavior::merged_with_previous},
                                                              {"MergedWithNext", Behavior::merged_with_next},
                                                              {"Contiguous", Behavior::contiguous}};
  for (const auto& [known, behavior] : kNames)
    if (known == name) return behavior;
  return {};
}

std::vector<Split::Piece> Split::merged(const std::vector<Piece>& pieces) const {
  std::vector<Piece> result;
  bool before = false;  // whether the piece before (merged_with_next: behind) this one is a match
  const auto add = [&](const Piece& piece, bool joins) {
    if (joins && !result.empty()) {
      result.back().begin = std::min(result.back().begin, piece.begin);
      result.back().end = std::max(result.back().end, piece.end);
    } else {
      result.push_back(piece);
    }
    before = piece.matched;
  };
  switch (behavior_) {
    case Behavior::isolated:
      return pieces;
    case Behavior::removed:
      std::copy_if(pieces.begin(), pieces.end(), std::back_inserter(result),
                   [](const auto& piece) { return !piece.matched; });
      break;
    case Behavior::contiguous:
      for (const auto& piece : pieces) add(piece, piece.matched == before);
      break;
    case Behavior::merged_with_previous:
      for (const auto& piece : pieces) add(piece, piece.matched && !before);
      break;
    case Behavior::merged_with_next:
      for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) add(*piece, piece->matched && !before);
      std::reverse(result.begin(), result.end());
      break;
  }
  return result;
}

}  // namespace accordion
