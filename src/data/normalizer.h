#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace accordion {

/// The `normalizer` of a tokenizer.json: Unicode normal forms, Prepend, Replace, and sequences of them.
class Normalizer {
 public:
  Normalizer() = default;
  /// UserError, naming `where`, for any other kind.
  Normalizer(const nlohmann::json& description, const std::string& where) { add(description, where); }

  bool empty() const { return steps_.empty(); }
  std::string operator()(std::string_view text) const;

 private:
  enum class Kind { nfc, nfd, nfkc, nfkd, prepend, replace };
  struct Step {
    Kind kind;
    std::string pattern, content;
  };
  void add(const nlohmann::json& description, const std::string& where);

  std::vector<Step> steps_;
};

}  // namespace accordion
