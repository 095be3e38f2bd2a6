#include "base/error.h"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace accordion {
namespace {

/// Levenshtein distance by one row of the table.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

UserError error_at(const std::string& file, int line, int column, const std::string& key, const std::string& what) {
  std::ostringstream message;
  message << file << ':' << line << ':' << column << ": ";
  if (!key.empty()) message << key << ": ";
  message << what;
  return UserError(message.str());
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  if (auto near = nearest(word, candidates); !near.empty()) return "; did you mean '" + near + "'?";
  std::string all;
  for (const auto& candidate : candidates) all += (all.empty() ? "; one of: " : ", ") + candidate;
  return all;
}

}  // namespace accordion
