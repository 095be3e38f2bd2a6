#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"

namespace accordion {

/// Where each key of a recipe was written, so that whoever finds a value wrong can say where it stands.
class Origins {
 public:
  Origins() = default;
  explicit Origins(std::string file) : file_(std::move(file)) {}

  /// From here on `key` and everything below it come from the command line.
  void override_key(const std::string& key) { overridden_.push_back(key); }
  /// `key` stands at this place of the file (counted from 1), unless the command line overrides it.
  void note(const std::string& key, int line, int column) { places_[key] = {line, column}; }
  bool given(const std::string& key) const { return places_.count(key) > 0; }

  /// `file:line:column: key: what`, or `command line: key: what`; for a key that was not written the place of the
  /// nearest section around it, and none where that is the whole file.
  UserError error(const std::string& key, const std::string& what) const;
  /// Same, at a place known otherwise (a key that no section has).
  UserError error(const std::string& key, int line, int column, const std::string& what) const;
  const std::string& file() const { return file_; }

 private:
  struct Place {
    int line, column;
  };
  bool overridden(const std::string& key) const;

  std::string file_ = "recipe";
  std::map<std::string, Place> places_;
  std::vector<std::string> overridden_;
};

/// `a.b` of a and b; one alone where the other is empty.
std::string join_key(const std::string& section, const std::string& key);

}  // namespace accordion
