#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/regex.h"

#include <pcre2.h>

#include <stdexcept>

#include "base/error.h"

namespace accordion {
namespace {

/// PCRE2's \s also takes U+180E, a space of older Unicode versions: spell the class out. \S inside a class keeps its
/// meaning.
std::string with_unicode_spaces(const std::string& pattern) {
  const std::string spaces =
      "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        result += in_class ? spaces : "[" + spaces + "]";
      } else if (escaped == 'S' && !in_class) {
        result += "[^" + spaces + "]";
      } else {
        result.append({'\\', escaped});
      }
      continue;
    }
    if (pattern[i] == '[') in_class = true;
    if (pattern[i] == ']') in_class = false;
    result += pattern[i];
  }
  return result;
}

struct MatchData {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(size_t{32} << 10, size_t{16} << 20, nullptr);
  MatchData() { pcre2_jit_stack_assign(context, nullptr, stack); }
  ~MatchData() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

}  // namespace

Regex::Regex(const std::string& pattern, const std::string& where) {
  const auto full = with_unicode_spaces(pattern);
  int code = 0;
  PCRE2_SIZE offset = 0;
  auto* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(full.data()), full.size(), PCRE2_UTF | PCRE2_UCP, &code,
                                 &offset, nullptr);
  if (!compiled) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(code, message, sizeof message);
    throw UserError(where + ": the pattern '" + pattern +
                    "' is not understood: " + reinterpret_cast<const char*>(message));
  }
  code_ = std::shared_ptr<pcre2_code>(compiled, pcre2_code_free);
  pcre2_jit_compile(compiled,
                    PCRE2_JIT_COMPLETE);  // where there is no compiler for the processor, the interpreter does
}

std::optional<Regex::Match> Regex::find(std::string_view text, size_t from) const {
  thread_local MatchData match;
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, match.data, match.context);
  if (found == PCRE2_ERROR_NOMATCH) return {};
  if (found < 0) throw std::runtime_error("PCRE2 failed with code " + std::to_string(found));
  const auto* range = pcre2_get_ovector_pointer(match.data);
  return Match{range[0], range[1]};
}

}  // namespace accordion
