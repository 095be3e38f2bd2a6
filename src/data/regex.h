#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct pcre2_real_code_8;

namespace accordion {

/// A pattern over UTF-8 text as Hugging Face's tokenizers read it (Oniguruma: \s is Unicode's White_Space), compiled to
/// machine code by PCRE2. May be used by many threads at once.
class Regex {
 public:
  /// UserError, naming `where`, if the pattern is not understood.
  Regex(const std::string& pattern, const std::string& where);

  struct Match {
    size_t begin, end;
  };
  /// The first match at or after `from`; `text` must be valid UTF-8.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace accordion
