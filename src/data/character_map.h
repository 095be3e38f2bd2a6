#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace accordion {

/// The `precompiled_charsmap` of a sentencepiece model: a double-array trie (Aoe 1989, in the layout of Darts-clone) of
/// texts, and what each becomes.
class CharacterMap {
 public:
  explicit CharacterMap(std::string_view blob);
  /// What exactly `text` becomes; none where the map leaves it, or is damaged there.
  std::optional<std::string> find(std::string_view text) const;

 private:
  std::vector<uint32_t> units_;
  std::string_view texts_;  // zero-terminated, one behind the other
};

}  // namespace accordion
