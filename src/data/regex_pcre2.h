#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace accordion {

struct Pcre2Pattern {
  std::string pattern;  // for PCRE2_UTF | PCRE2_UCP and line feeds as newlines
  /// No match can hold a letter and a space behind it, and none depends on what stands beyond the place between them: a
  /// text may be cut there (see Tokenizer::cut), if the pattern cuts it there too.
  bool safe_to_cut = false;
};

/// A pattern of Oniguruma in Ruby's syntax, spelt so that PCRE2 finds the very same matches; none where it uses
/// anything beyond what both are known to agree on: letters, `.`, `^`, `$`, `\A`, `\z`, `\s`, `\d`, general categories,
/// classes with classes in them, groups, `(?i:` of a few ASCII words, looking ahead, and repetitions of what is not
/// empty. Sources: doc/RE of Oniguruma 6.9, pcre2pattern(3).
std::optional<Pcre2Pattern> pcre2_pattern(std::string_view pattern);

}  // namespace accordion
