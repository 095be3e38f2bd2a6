#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "data/utf8.h"

struct pcre2_real_code_8;
struct re_pattern_buffer;

namespace accordion {

/// A pattern over UTF-8 text as Hugging Face's tokenizers read it: Oniguruma's, in the syntax of Ruby. What PCRE2 can
/// say with the same meaning (see pcre2_pattern) is compiled to machine code by it, some ten times as fast; everything
/// else is Oniguruma's own work. May be used by many threads at once.
class Regex {
 public:
  /// UserError, naming `where`, if the pattern is not understood.
  Regex(const std::string& pattern, const std::string& where);

  struct Match {
    size_t begin, end;
  };
  /// The first match at or after `from`; `text` must be valid UTF-8. UserError where it would take too long.
  std::optional<Match> find(std::string_view text, size_t from) const;

  /// Calls `use` with all matches one after another. One that is empty counts, but for right behind another; at the end
  /// of the text only where `at_end` asks for it.
  template <class Use>
  void each(std::string_view text, Use use, bool at_end = false) const {
    if (text.empty()) return;
    std::optional<size_t> last;
    for (size_t from = 0; at_end ? from <= text.size() : from < text.size();) {
      const auto match = find(text, from);
      if (!match) return;
      if (match->begin == match->end && last == match->end) {
        if (from == text.size()) return;
        next_character(text, from);
        continue;
      }
      from = match->end;
      last = match->end;
      use(*match);
    }
  }

  bool safe_to_cut() const { return safe_to_cut_; }  ///< see Pcre2Pattern

 private:
  std::optional<Match> find_by_oniguruma(std::string_view text, size_t from) const;

  std::string pattern_, where_;
  std::shared_ptr<re_pattern_buffer> oniguruma_;
  std::shared_ptr<pcre2_real_code_8> pcre2_;  // null where Oniguruma does it
  bool safe_to_cut_ = false;
};

}  // namespace accordion
