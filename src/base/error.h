#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace accordion {

/// A mistake of the person who runs the program: a bad file, key, flag or data. The message is one line that says what
/// is wrong and what to do, without a full stop. main() prints it as `error: MESSAGE` and exits with 2.
struct UserError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A UserError about a place in a file, `file:line:col: key: what`. Lines and columns count from 1.
UserError error_at(const std::string& file, int line, int column, const std::string& key, const std::string& what);

/// The candidate nearest to `word` in edit distance, or "" where none is near enough to suggest.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// `; did you mean 'X'?` for the nearest candidate, or `; one of: A, B, C` where none is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace accordion
