#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/regex.h"

namespace accordion {

/// The `normalizer` of a tokenizer.json: Unicode normal forms, Prepend, Replace, and sequences of them.
class Normalizer {
 public:
  Normalizer() = default;
  /// UserError, naming `where`, for any other kind.
  Normalizer(const nlohmann::json& description, const std::string& where) { add(description, where); }

  bool empty() const { return steps_.empty(); }
  std::string operator()(std::string_view text) const;
  /// Whether no step looks further than a character and those that combine with it (a pattern may).
  bool safe_to_cut() const;

 private:
  enum class Kind { nfc, nfd, nfkc, nfkd, prepend, replace };
  struct Step {
    Kind kind;
    std::string pattern, content;
    std::optional<Regex> regex;  // replace: in place of `pattern`
  };
  void add(const nlohmann::json& description, const std::string& where);

  std::vector<Step> steps_;
};

}  // namespace accordion
