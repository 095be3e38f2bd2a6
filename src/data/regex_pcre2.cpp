#include "data/regex_pcre2.h"

#include <array>

#include "base/text.h"
#include "data/regex_part.h"
#include "data/utf8.h"

namespace accordion {
namespace {

using namespace std::string_view_literals;

// What \s is for Oniguruma: Unicode's White_Space. PCRE2's own also takes U+180E, a space of older versions.
constexpr char kSpaces[] = R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr char kNoSpaces[] =
    R"(\x{0}-\x{8}\x{e}-\x{1f}!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Those without a say in what is unassigned, where versions of Unicode differ most.
constexpr std::array kCategories{"L"sv,  "Lu"sv, "Ll"sv, "Lt"sv, "Lm"sv, "Lo"sv, "M"sv,  "Mn"sv, "Mc"sv, "Me"sv, "N"sv,
                                 "Nd"sv, "Nl"sv, "No"sv, "P"sv,  "Pc"sv, "Pd"sv, "Ps"sv, "Pe"sv, "Pi"sv, "Pf"sv, "Po"sv,
                                 "S"sv,  "Sm"sv, "Sc"sv, "Sk"sv, "So"sv, "Z"sv,  "Zs"sv, "Zl"sv, "Zp"sv};
constexpr size_t kMostRepeats = 1000;

struct Untranslated {};  // thrown where the pattern leaves what is known to mean the same

std::string hex(char32_t c) { return format("\\x{%x}", static_cast<unsigned>(c)); }

bool is_alphanumeric(char32_t c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/// The characters of a class, as PCRE2 spells them between brackets.
struct Members {
  std::string text;
  Ascii set;
};

class Translation {
 public:
  explicit Translation(std::string_view pattern) : in_(pattern) {}

  Pcre2Pattern whole() {
    const auto part = alternatives();
    if (!at_end()) throw Untranslated();
    return {std::move(out_), part.safe && !part.looks_ahead};
  }

 private:
  bool at_end() const { return at_ == in_.size(); }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t take_character() {
    if (at_end()) throw Untranslated();
    return next_character(in_, at_);
  }

  Part alternatives() {
    auto all = branch();
    while (take("|")) {
      out_ += '|';
      all = otherwise(all, branch());
    }
    return all;
  }

  Part branch() {
    Part all;
    while (!at_end() && !next_is("|") && !next_is(")")) {
      const size_t start = out_.size();
      all = then(all, repeated(atom(), start));
    }
    return all;
  }

  Part atom() {
    const auto c = take_character();
    switch (c) {
      case '(':
        return group();
      case '[':
        return character_class();
      case '\\':
        return escape();
      case '.':
        out_ += "[^\\n]";
        return one_of(Ascii().set());
      case '^':
        out_ += "(?m:^)";
        return anchor(false);
      case '$':
        out_ += "(?m:$)";
        return anchor(true);
      case '*':
      case '+':
      case '?':
      case '{':  // nothing to repeat
        throw Untranslated();
      default:
        return literal(c);
    }
  }

  static Part anchor(bool ahead) {
    Part part;
    part.safe = ahead;
    part.looks_ahead = ahead;
    part.can_be_repeated = false;
    return part;
  }

  Part literal(char32_t c) {
    if (c < 128 && !is_alphanumeric(c))
      out_ += hex(c);
    else
      append_character(out_, c);
    return one_of(range(c, c));
  }

  Part group() {
    if (take("?i:")) return folded();
    const bool ahead = next_is("?=") || next_is("?!");
    if (ahead || next_is("?>") || next_is("?:")) {
      out_.append("(").append(in_.substr(at_, 2));
      at_ += 2;
    } else if (next_is("?")) {
      throw Untranslated();
    } else {
      out_ += "(?:";
    }
    auto part = alternatives();
    if (!take(")")) throw Untranslated();
    out_ += ')';
    if (!ahead) return part;
    auto look = anchor(true);
    look.safe = part.safe && part.width <= 1 && !part.looks_ahead;
    return look;
  }

  /// (?i:...) of ASCII words: PCRE2 folds single characters as Oniguruma does (the long s, the Kelvin sign), but knows
  /// nothing of letters that fold to several (ss, st, ff, fi, fl).
  Part folded() {
    out_ += "(?i:";
    Part all, word;
    bool first = true;
    const auto end_word = [&] {
      if (word.empty) throw Untranslated();
      all = first ? word : otherwise(all, word);
      first = false;
      word = {};
    };
    for (char32_t before = 0;;) {
      auto c = take_character();
      if (c == ')') break;
      if (c == '|') {
        end_word();
        out_ += '|';
        before = 0;
        continue;
      }
      if (!is_alphanumeric(c) && c != '\'' && c != ' ' && c != '-' && c != '_') throw Untranslated();
      word = then(word, literal(c));
      if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
      if ((before == 's' && (c == 's' || c == 't')) || (before == 'f' && (c == 'f' || c == 'i' || c == 'l')))
        throw Untranslated();
      before = c;
    }
    end_word();
    out_ += ')';
    return all;
  }

  Part escape() {
    if (take("A")) {
      out_ += "\\A";
      return anchor(false);
    }
    if (take("z")) {
      out_ += "\\z";
      return anchor(true);
    }
    if (auto members = escaped_set()) {
      out_ += "[" + members->text + "]";
      return one_of(members->set);
    }
    return literal(escaped_character());
  }

  /// \s, \d, \p{L} and their opposites, behind the backslash; none for anything else.
  std::optional<Members> escaped_set() {
    const auto spaces = range('\t', '\r') | range(' ', ' ');
    if (take("s")) return Members{kSpaces, spaces};
    if (take("S")) return Members{kNoSpaces, ~spaces};
    if (take("d")) return Members{"\\p{Nd}", {}};
    if (take("D")) return Members{"\\P{Nd}", Ascii().set()};
    if (!next_is("p{") && !next_is("P{")) return {};
    bool not_in = in_[at_] == 'P';
    at_ += 2;
    if (take("^")) not_in = !not_in;
    const auto name = in_.substr(at_, std::min(in_.find('}', at_), in_.size()) - at_);
    at_ += name.size();
    if (!take("}") || std::find(kCategories.begin(), kCategories.end(), name) == kCategories.end())
      throw Untranslated();
    Ascii set;
    if (name == "L" || name == "Lu") set |= upper();
    if (name == "L" || name == "Ll") set |= lower();
    if (name == "Z" || name == "Zs") set.set(' ');
    return Members{(not_in ? "\\P{" : "\\p{") + std::string(name) + "}", not_in ? ~set : set};
  }

  char32_t escaped_character() {
    const auto c = take_character();
    switch (c) {
      case 't':
        return '\t';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'e':
        return 0x1B;
      case 'u':
        return code_point(4);
      case 'x':
        if (take("{")) {
          const auto digits = in_.substr(at_, std::min(in_.find('}', at_), in_.size()) - at_);
          const auto value = code_point(digits.size());
          if (!take("}")) throw Untranslated();
          return value;
        } else {
          const auto value = code_point(2);
          if (value >= 0x80) throw Untranslated();  // a byte of a character, for Oniguruma
          return value;
        }
      default:
        if (c < 128 && !is_alphanumeric(c)) return c;
        throw Untranslated();
    }
  }

  char32_t code_point(size_t digits) {
    const auto text = in_.substr(at_, digits);
    if (digits == 0 || digits > 6 || text.size() != digits ||
        text.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
      throw Untranslated();
    at_ += digits;
    const auto value = static_cast<char32_t>(std::stoul(std::string(text), nullptr, 16));
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) throw Untranslated();
    return value;
  }

  Part character_class() {
    const bool negated = take("^");
    const auto members = class_members();
    out_.append(negated ? "[^" : "[").append(members.text).append("]");
    return one_of(negated ? ~members.set : members.set);
  }

  /// Up to the closing bracket. A class within a class adds its members.
  Members class_members() {
    Members all;
    if (next_is("]")) throw Untranslated();
    for (bool first = true; !take("]"); first = false) {
      if (next_is("&&") || next_is("[:") || next_is("[^")) throw Untranslated();
      Members more;
      if (take("[")) {
        more = class_members();
        if (next_is("-")) throw Untranslated();
      } else if (next_is("-") && !first && in_.substr(at_, 2) != "-]") {
        throw Untranslated();  // behind a range or a set
      } else {
        more = class_member();
      }
      all.text += more.text;
      all.set |= more.set;
    }
    return all;
  }

  /// A character, a range of them, or a set.
  Members class_member() {
    const bool escaped = take("\\");
    if (escaped)
      if (auto set = escaped_set()) {
        if (next_is("-") && !next_is("-]")) throw Untranslated();
        return *set;
      }
    const auto low = escaped ? escaped_character() : take_character();
    const auto spelt = [](char32_t c) { return is_alphanumeric(c) ? std::string(1, static_cast<char>(c)) : hex(c); };
    if (!next_is("-") || next_is("-]")) return {spelt(low), range(low, low)};
    if (low == '-' && !escaped) throw Untranslated();
    take("-");
    if (next_is("[") || next_is("-")) throw Untranslated();
    const auto high = take("\\") ? escaped_character() : take_character();
    if (high < low) throw Untranslated();
    return {spelt(low) + "-" + spelt(high), range(low, high)};
  }

  /// The quantifier behind the part that begins at `start` of the output, if there is one.
  Part repeated(const Part& part, size_t start) {
    const bool interval = next_is("{");
    if (!interval && !next_is("*") && !next_is("+") && !next_is("?")) return part;
    // Engines differ in when a repetition of nothing ends.
    if (part.empty || !part.can_be_repeated) throw Untranslated();
    size_t least = next_is("+") ? 1 : 0, most = next_is("?") ? 1 : 2;
    bool exact = false;
    if (interval)
      read_interval(least, most, exact);
    else
      out_ += in_[at_++];
    if (interval && ((next_is("+") && least > 0) || (next_is("?") && exact))) {
      // In Ruby these repeat the interval: a{1,3}+ is (?:a{1,3})+, a{3}? is (?:a{3})?.
      out_.insert(start, "(?:");
      out_ += ')';
      (next_is("+") ? most : least) = next_is("+") ? 2 : 0;
      out_ += in_[at_++];
    } else if (next_is("?") || (next_is("+") && !interval)) {
      out_ += in_[at_++];
    }
    if (next_is("*") || next_is("+") || next_is("?") || next_is("{")) throw Untranslated();
    auto all = most > 1 ? then(part, part) : part;
    all.empty = least == 0;
    return all;
  }

  /// {n}, {n,}, {n,m}, {,m}.
  void read_interval(size_t& least, size_t& most, bool& exact) {
    take("{");
    const auto number = [&]() -> std::optional<size_t> {
      size_t value = 0, digits = 0;
      for (; !at_end() && in_[at_] >= '0' && in_[at_] <= '9'; ++digits)
        value = value * 10 + static_cast<size_t>(in_[at_++] - '0');
      if (digits > 4) throw Untranslated();
      return digits > 0 ? std::optional(value) : std::nullopt;
    };
    const auto low = number();
    const bool comma = take(",");
    const auto high = comma ? number() : low;
    if (!take("}") || (!low && !high)) throw Untranslated();
    least = low.value_or(0);
    if (high && (*high < least || *high == 0 || *high > kMostRepeats)) throw Untranslated();
    if (least > kMostRepeats) throw Untranslated();
    most = high.value_or(2);
    exact = !comma;
    out_ += "{" + std::to_string(least) + (exact ? "" : "," + (high ? std::to_string(*high) : "")) + "}";
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::optional<Pcre2Pattern> pcre2_pattern(std::string_view pattern) try {
  return Translation(pattern).whole();
} catch (const Untranslated&) {
  return {};
}

}  // namespace accordion
