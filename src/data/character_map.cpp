#include "data/character_map.h"

#include <cstring>

namespace accordion {

CharacterMap::CharacterMap(std::string_view blob) {
  uint32_t size = 0;  // of the trie in bytes; little-endian, as we are
  if (blob.size() < sizeof size) return;
  std::memcpy(&size, blob.data(), sizeof size);
  blob.remove_prefix(sizeof size);
  if (size > blob.size()) return;
  units_.resize(size / sizeof(uint32_t));
  std::memcpy(units_.data(), blob.data(), units_.size() * sizeof(uint32_t));
  texts_ = blob.substr(size);
}

std::optional<std::string> CharacterMap::find(std::string_view text) const {
  // A unit: bits 0-7 and 31 the byte that leads to it, bit 8 whether a text ends here, bits 10-30 the way to its
  // children, in units of 256 where bit 9 is set.
  const auto children = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  size_t at = 0;
  if (units_.empty()) return {};
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    at ^= children(units_[at]) ^ byte;
    if (at >= units_.size() || (units_[at] & 0x800000FF) != byte) return {};
  }
  if ((units_[at] >> 8 & 1) == 0) return {};
  const size_t leaf = at ^ children(units_[at]);
  if (leaf >= units_.size()) return {};
  const size_t start = units_[leaf] & 0x7FFFFFFF;
  if (start >= texts_.size()) return {};
  return std::string(texts_.substr(start, texts_.find('\0', start) - start));
}

}  // namespace accordion
