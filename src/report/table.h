#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace accordion {

/// A table for people: columns as wide as their widest cell (in characters, not bytes), two spaces apart. The first
/// `left` columns are aligned to the left, the others, numbers as a rule, to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header, size_t left = 1);
  /// Adds a row; cells that are missing at its end stay empty. std::logic_error for more cells than the header has.
  void row(std::vector<std::string> cells);
  /// The header, a rule and the rows; every line ends with a newline.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the first is the header
  size_t left_;
};

/// How many characters (code points) a UTF-8 text has.
size_t text_width(const std::string& text);

}  // namespace accordion
