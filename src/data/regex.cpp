#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/regex.h"

#include <oniguruma.h>
#include <pcre2.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/error.h"
#include "data/regex_pcre2.h"

using namespace std::string_view_literals;

namespace accordion {
namespace {

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

struct Region {
  OnigRegion* region = onig_region_new();
  ~Region() { onig_region_free(region, 1); }
};

const OnigUChar* bytes_of(std::string_view text) { return reinterpret_cast<const OnigUChar*>(text.data()); }

std::string message_of(int code, OnigErrorInfo* info) {
  OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = onig_error_code_to_str(message, code, info);
  return {reinterpret_cast<const char*>(message), static_cast<size_t>(length)};
}

/// The first part of a pattern that some versions of Oniguruma read otherwise than others (6.9.8 and what
/// `tokenizers` brings were compared), or that does more than match; "" where there is none.
std::string unsettled(std::string_view pattern) {
  constexpr std::string_view kEscapes = "tnrfvaesSdDwWhHbBAzZGKpPxukgcCM";
  constexpr std::array kBrackets{"alnum"sv, "alpha"sv, "ascii"sv, "blank"sv, "cntrl"sv, "digit"sv, "graph"sv,
                                 "lower"sv, "print"sv, "space"sv, "upper"sv, "word"sv,  "xdigit"sv};
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  int depth = 0;  // of classes
  for (size_t at = 0; at < pattern.size(); ++at) {
    const auto rest = pattern.substr(at);
    if (rest[0] == '\\' && rest.size() > 1) {
      if (is_letter(rest[1]) && kEscapes.find(rest[1]) == std::string_view::npos) return std::string(rest.substr(0, 2));
      const auto property = rest.substr(0, std::min(rest.find('}'), rest.size() - 1) + 1);
      if (rest.starts_with("\\p{") || rest.starts_with("\\P{"))
        for (size_t i = 0; i + 5 <= property.size(); ++i)
          if (::strncasecmp(property.data() + i, "punct", 5) == 0) return std::string(property);
      ++at;
    } else if (rest.starts_with("[:")) {
      const auto name = rest.substr(rest.starts_with("[:^") ? 3 : 2);
      const bool known = std::any_of(kBrackets.begin(), kBrackets.end(),
                                     [&](auto bracket) { return name.starts_with(std::string(bracket) + ":]"); });
      if (depth == 0 || !known) return std::string(rest.substr(0, std::min(rest.find(']'), rest.size() - 1) + 1));
      at += rest.find(']');
    } else if (rest[0] == '[') {
      ++depth;
    } else if (rest[0] == ']' && depth > 0) {
      --depth;
    } else if (depth == 0 && (rest.starts_with("(*") || rest.starts_with("(?*") || rest.starts_with("(?{") ||
                              rest.starts_with("(?("))) {
      return std::string(rest.substr(0, rest[1] == '*' ? 2 : 3));
    } else if (depth == 0 && rest.starts_with("(?") && rest.size() > 2 && (is_letter(rest[2]) || rest[2] == '-')) {
      const auto options = rest.substr(2, std::min(rest.find_first_not_of("imx-", 2), rest.size()) - 2);
      if (const auto after = rest.substr(2 + options.size()); !after.starts_with(':') && !after.starts_with(')'))
        return std::string(rest.substr(0, 3 + options.size()));
    }
  }
  return "";
}

/// As the `onig` crate of Rust does for `tokenizers`: Ruby's syntax, no options.
std::shared_ptr<regex_t> compile_by_oniguruma(const std::string& pattern, const std::string& where) {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
  });
  regex_t* compiled = nullptr;
  OnigErrorInfo info = {};
  const auto* begin = bytes_of(pattern);
  const int code =
      onig_new(&compiled, begin, begin + pattern.size(), ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_RUBY, &info);
  if (code != ONIG_NORMAL)
    throw UserError(where + ": the pattern '" + pattern + "' is not understood: " + message_of(code, &info) +
                    "; mend it, or use another tokenizer");
  const std::shared_ptr<regex_t> owner(compiled, onig_free);
  if (const auto part = unsettled(pattern); !part.empty())
    throw UserError(where + ": the pattern '" + pattern + "' has '" + part +
                    "', which is not supported, since versions of Oniguruma differ in it; use another tokenizer");
  return owner;
}

std::shared_ptr<pcre2_code> compile_by_pcre2(const std::string& pattern) {
  const std::shared_ptr<pcre2_compile_context> context(pcre2_compile_context_create(nullptr),
                                                       pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  auto* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                 &code, &offset, context.get());
  if (!compiled) return {};  // too large for it, say
  // Where there is no compiler for the processor, the interpreter does.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return {compiled, pcre2_code_free};
}

}  // namespace

Regex::Regex(const std::string& pattern, const std::string& where)
    : pattern_(pattern), where_(where), oniguruma_(compile_by_oniguruma(pattern, where)) {
  if (const auto translated = pcre2_pattern(pattern)) {
    pcre2_ = compile_by_pcre2(translated->pattern);
    safe_to_cut_ = translated->safe_to_cut;
  }
}

std::optional<Regex::Match> Regex::find(std::string_view text, size_t from) const {
  if (!pcre2_) return find_by_oniguruma(text, from);
  thread_local MatchData match;
  const int found = pcre2_match(pcre2_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, match.data, match.context);
  if (found == PCRE2_ERROR_NOMATCH) return {};
  if (found < 0) return find_by_oniguruma(text, from);  // beyond one of its limits
  const auto* range = pcre2_get_ovector_pointer(match.data);
  return Match{range[0], range[1]};
}

std::optional<Regex::Match> Regex::find_by_oniguruma(std::string_view text, size_t from) const {
  thread_local Region found;
  const auto* begin = bytes_of(text);
  const auto* end = begin + text.size();
  const int code = onig_search(oniguruma_.get(), begin, end, begin + from, end, found.region, ONIG_OPTION_NONE);
  if (code == ONIG_MISMATCH) return {};
  const auto fail = [&](const std::string& why) {
    return UserError(where_ + ": the pattern '" + pattern_ + "' fails on a text: " + why + "; use another tokenizer");
  };
  if (code < 0) throw fail(message_of(code, nullptr));
  const Match match{static_cast<size_t>(found.region->beg[0]), static_cast<size_t>(found.region->end[0])};
  if (match.begin < from || match.end < match.begin) throw fail("a match begins before the place that was looked at");
  return match;
}

}  // namespace accordion
