#include <cctype>
#include <cmath>

#include "base/text.h"
#include "recipe/origins.h"
#include "recipe/print.h"
#include "recipe/text_of.h"

namespace accordion {
namespace {

template <class T>
std::string values_of(const T&) {
  if constexpr (std::is_same_v<T, std::string>) return "text";
  if constexpr (std::is_same_v<T, bool>) return "`true`, `false`";
  if constexpr (std::is_same_v<T, int64_t>) return "whole number";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, AutoCount>) return "`auto`, whole number";
  if constexpr (std::is_same_v<T, Until>) return "number, `end`";
  if constexpr (std::is_same_v<T, MiniSequence>) return "`off`, `auto`, whole number, `{count: M}`";
  if constexpr (std::is_same_v<T, NotYet>) return "not available yet";
  if constexpr (Named<T>) {
    std::string names;
    for (const auto& name : all_names<T>()) names += (names.empty() ? "`" : ", `") + name + "`";
    return names;
  }
  if constexpr (is_optional<T>) return values_of(typename T::value_type());
  if constexpr (is_vector<T>) return "list of: " + values_of(typename T::value_type());
  return "";
}

std::string bounds_of(const Bounds& bounds) {
  if (std::isfinite(bounds.max)) return format(", %g..%g", bounds.min, bounds.max);
  if (std::isfinite(bounds.min)) return format(", at least %g", bounds.min);
  return "";
}

/// A `|` ends a cell of a table unless escaped.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? "\\|" : std::string(1, c);
  return escaped;
}

std::string sentence(std::string text) {
  text[0] = static_cast<char>(std::toupper(text[0]));
  return text + ".";
}

/// One row for each key; sections within a section continue its table with dotted names.
class Rows {
 public:
  Rows(std::string path, std::string& out) : path_(std::move(path)), out_(out) {}

  template <class T>
  void operator()(const char* key, T& value, const char* help, Bounds bounds = {}) {
    const auto path = join_key(path_, key);
    if constexpr (Section<T>) {
      value.visit(Rows(path, out_));
    } else if constexpr (is_vector<T>) {
      using Element = typename T::value_type;
      if constexpr (Section<Element>) {
        out_ += "| `" + path + "` | list |  | " + cell(help) + " |\n";
        Element element{};
        element.visit(Rows(path + "[]", out_));
      } else {
        row(path, value, help, bounds);
      }
    } else {
      row(path, value, help, bounds);
    }
  }

 private:
  template <class T>
  void row(const std::string& path, const T& value, const char* help, Bounds bounds) {
    const auto text = has_no_value(value) ? "" : "`" + cell(text_of(value)) + "`";
    out_ +=
        "| `" + path + "` | " + cell(values_of(value) + bounds_of(bounds)) + " | " + text + " | " + cell(help) + " |\n";
  }

  std::string path_;
  std::string& out_;
};

/// Top level: keys that hold one value first, then a heading and a table for each section.
struct Document {
  std::string values, sections;
  template <class T>
  void operator()(const char* key, T& value, const char* help, Bounds bounds = {}) {
    if constexpr (Section<T>) {
      sections += "\n## " + std::string(key) + "\n\n" + sentence(help) + "\n\n" + kHead;
      value.visit(Rows(key, sections));
    } else {
      Rows("", values)(key, value, help, bounds);
    }
  }
  static constexpr const char* kHead = "| key | values | default | meaning |\n| --- | --- | --- | --- |\n";
};

}  // namespace

std::string recipe_reference() {
  Recipe recipe;
  Document document;
  recipe.visit(document);
  return "# Recipes: every key\n\n"
         "Generated from `src/recipe/recipe.h`; `./dev documents` writes it anew.\n\n"
         "Whole numbers may be written `16384`, `16k` (= 16 x 1024), `2m` or `20e6`. On the command line `key=value` "
         "overrides any key:\n"
         "`length_schedule.max_length=4096`, `length_schedule.segments.0.until=0.5`, `budget='{steps: 100}'`, "
         "`batch.tokens=null`\n"
         "(takes the key away). A key that is unknown, written twice or would be ignored is an error.\n\n" +
         std::string(Document::kHead) + document.values + document.sections;
}

}  // namespace accordion
