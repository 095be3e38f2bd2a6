#include "report/table.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace accordion {

size_t text_width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

Table::Table(std::vector<std::string> header, size_t left) : rows_{std::move(header)}, left_(left) {}

void Table::row(std::vector<std::string> cells) {
  if (cells.size() > rows_[0].size()) throw std::logic_error("a table's row has more cells than its header");
  cells.resize(rows_[0].size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_)
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], text_width(row[column]));

  std::string text;
  for (size_t index = 0; index < rows_.size(); ++index) {
    std::string line;
    for (size_t column = 0; column < widths.size(); ++column) {
      const auto& cell = rows_[index][column];
      const std::string padding(widths[column] - text_width(cell), ' ');
      line += column == 0 ? "" : "  ";
      line += column < left_ ? cell + padding : padding + cell;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (index == 0) {
      std::string rule;
      for (size_t column = 0; column < widths.size(); ++column)
        rule += std::string(column == 0 ? 0 : 2, ' ') + std::string(widths[column], '-');
      text += rule + "\n";
    }
  }
  return text;
}

}  // namespace accordion
