#include "data/regex.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "data/regex_pcre2.h"

namespace accordion {
namespace {

using testing::HasSubstr;

std::vector<std::string> matches(const Regex& regex, const std::string& text) {
  std::vector<std::string> found;
  regex.each(
      text,
      [&](const Regex::Match& match) {
        found.push_back(std::to_string(match.begin) + ":" + text.substr(match.begin, match.end - match.begin));
      },
      true);
  return found;
}

/// The same pattern by Oniguruma alone: a comment is left to it.
Regex by_oniguruma(const std::string& pattern) { return Regex("(?#)" + pattern, "test"); }

class Fuzz {
 public:
  explicit Fuzz(unsigned seed) : random_(seed) {}
  size_t below(size_t n) { return random_() % n; }
  template <size_t N>
  std::string any(const char* const (&of)[N]) {
    return of[below(N)];
  }

  std::string pattern(int depth = 0) {
    std::string all = branch(depth);
    while (below(3) == 0) all += "|" + branch(depth);
    return all;
  }
  std::string text() {
    static const char* const kPieces[] = {
        "a",      "b",      "c",      "s",      "t",      "ss",     "A",      "Z",         "1",      "23",
        "_",      "-",      "'s",     "'",      "&&",     "[",      "]",      "{",         "}",      "\n",
        "\r\n",   "\t",     " ",      "  ",     "\v",     "\u0085", "\u00a0", "!",         ".",      "#",
        ",",      "^",      "$",      "\\",     "\u00df", "\u017f", "\u212a", "\u0130",    "\u00e9", "e\u0301",
        "\u4f60", "\u180e", "\u2028", "\u3000", "\ufb06", "\u0661", "\u00bd", "\U0001F600"};
    std::string all;
    for (size_t n = below(14); n > 0; --n) all += any(kPieces);
    return all;
  }

 private:
  std::string branch(int depth) {
    std::string all;
    for (size_t n = 1 + below(3); n > 0; --n) all += atom(depth) + quantifier();
    return all;
  }
  std::string atom(int depth) {
    static const char* const kAtoms[] = {
        "a",       "b",       "s",    " ",   "'",       "-",     "&",       "]",      "}",        "#",
        ".",       "^",       "$",    "\\s", "\\S",     "\\d",   "\\D",     "\\p{L}", "\\P{L}",   "\\p{^N}",
        "\\n",     "\\.",     "\\A",  "\\z", "\\x{e9}", "\\x41", "\\u4f60", "\u00e9", "\\p{M}",   "\\p{Lu}",
        "\\p{P}",  "\\v",     "\\h",  "\\w", "\\b",     "\\R",   "\\X",     "\\K",    "\\p{Han}", "(?i:'s|'T|k)",
        "(?i:ss)", "(?i:st)", "(?i)s"};
    static const char* const kGroups[] = {"(", "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?m:", "(?i:"};
    const auto kind = below(depth < 2 ? 8 : 6);
    if (kind < 4) return any(kAtoms);
    if (kind < 6) return character_class(0);
    return any(kGroups) + pattern(depth + 1) + ")";
  }
  std::string character_class(int depth) {
    static const char* const kMembers[] = {
        "a", "b-t", "A-Z", "\\s", "\\S", "\\d", "\\D", "\\p{L}",        "\\P{N}",          "\\n",       "\\]", "^",
        "&", "&&",  "-",   "\\-", "#",   " ",   "'",   "\u00e9-\u4f60", "\\x{41}-\\x{5a}", "[:alpha:]", "\\w", "\\h",
        "."};
    std::string all = below(3) == 0 ? "[^" : "[";
    for (size_t n = 1 + below(4); n > 0; --n)
      all += depth < 2 && below(6) == 0 ? character_class(depth + 1) : any(kMembers);
    return all + "]";
  }
  std::string quantifier() {
    static const char* const kQuantifiers[] = {
        "",    "",      "",     "",     "*",      "+",      "?",    "*?",   "+?",    "??",     "*+", "++", "?+",
        "{2}", "{1,3}", "{1,}", "{,2}", "{1,3}+", "{1,2}?", "{2}?", "{2}+", "{0,1}", "{1,2}*", "+*", "{",  "{a}"};
    return any(kQuantifiers);
  }
  std::mt19937 random_;
};

TEST(Regex, OfPcre2FindsWhatOnigurumaFinds) {
  Fuzz fuzz(1);
  int translated = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto pattern = fuzz.pattern();
    const auto ours = pcre2_pattern(pattern);
    if (!ours) continue;
    std::optional<Regex> both, oniguruma;
    try {
      oniguruma = by_oniguruma(pattern);
    } catch (const UserError&) {
      EXPECT_THROW(Regex(pattern, "test"), UserError) << pattern;
      continue;
    }
    both.emplace(pattern, "test");
    ++translated;
    for (int text = 0; text < 12; ++text) {
      const auto sample = fuzz.text();
      ASSERT_EQ(matches(*both, sample), matches(*oniguruma, sample))
          << pattern << "\nby PCRE2 " << ours->pattern << "\non '" << sample << "'";
    }
  }
  EXPECT_GT(translated, 3000);
}

// The patterns of GPT-2, Llama 3, Qwen 2, o200k, DeepSeek (3), StarCoder, BLOOM, cl100k.
constexpr const char* kReal[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    R"(\s+$)",
    R"(\s?[A-Za-z\u00b5\u00c0-\u00d6]+)",
    R"(\p{N}{1,3})",
    "[0-9][0-9][0-9]",
    R"( ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+)",
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
};

TEST(Regex, OfRealTokenizersIsFast) {
  for (const auto* pattern : kReal) {
    const std::string text = pattern;
    EXPECT_EQ(pcre2_pattern(text).has_value(), text.find("(?i:[") == std::string::npos) << text;
    const Regex both(text, "test");
    const auto oniguruma = by_oniguruma(text);
    Fuzz fuzz(2);
    for (int i = 0; i < 2000; ++i) {
      const auto sample = fuzz.text() + fuzz.text();
      ASSERT_EQ(matches(both, sample), matches(oniguruma, sample)) << text << "\non '" << sample << "'";
    }
  }
}

TEST(Regex, KnowsWhereATextMayBeCut) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(pcre2_pattern(kReal[i])->safe_to_cut) << kReal[i];
  for (const char* pattern : {"[a-z]+", " ?[a-z]+", "\\s+$", "[^a]b", "1(?=b)", "(?:a|1)(?:2|b)"})
    EXPECT_TRUE(pcre2_pattern(pattern)->safe_to_cut) << pattern;
  for (const char* pattern : {"[a-z ]+", "New York", "\\p{L}+ ?\\p{L}+", "(?:a| )+", ".+", "\\p{L}+(?! )", "a$", "^ a",
                              "\\A.", "[^x]{2}", "a\\s*b", "(?!b) a", "\\s+(?= \\p{L})", "(?:a|1)(?:2| )"})
    EXPECT_FALSE(pcre2_pattern(pattern)->safe_to_cut) << pattern;
}

TEST(Regex, NamesPatternsThatAreNotUnderstood) {
  for (const char* pattern : {"[]", "a**[", "(", "\\p{Foo}", "*a", "[b-a]"}) {
    try {
      Regex(pattern, "t.json");
      ADD_FAILURE() << pattern;
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("t.json: the pattern '" + std::string(pattern) + "' is not understood"));
    }
  }
}

TEST(Regex, NamesAPatternThatTakesTooLong) {
  const Regex slow("(?:a|aa)+$\\w", "t.json");
  EXPECT_THROW(slow.find(std::string(60, 'a'), 0), UserError);
}

TEST(Regex, EmptyMatchesCount) {
  EXPECT_THAT(matches(Regex("x*", "t"), "axxb"), testing::ElementsAre("0:", "1:xx", "4:"));
  EXPECT_THAT(matches(Regex("(?=b)", "t"), "abab"), testing::ElementsAre("1:", "3:"));
  EXPECT_THAT(matches(Regex("x*", "t"), ""), testing::ElementsAre());
}

}  // namespace
}  // namespace accordion
