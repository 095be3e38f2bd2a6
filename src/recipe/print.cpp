#include "recipe/print.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "base/text.h"
#include "recipe/origins.h"
#include "recipe/text_of.h"

namespace accordion {
namespace {

class Printer {
 public:
  explicit Printer(YAML::Emitter& out) : out_(out) {}

  template <class T>
  void operator()(const char* key, T& value, const char* /*help*/, Bounds = {}) {
    if (has_no_value(value)) return;
    out_ << YAML::Key << key << YAML::Value;
    print(value);
  }

  template <class T>
  void print(T& value) {
    if constexpr (is_optional<T>) {
      print(*value);
    } else if constexpr (Section<T>) {
      out_ << YAML::BeginMap;
      value.visit(*this);
      out_ << YAML::EndMap;
    } else if constexpr (is_vector<T>) {
      if (!Section<typename T::value_type>) out_ << YAML::Flow;
      out_ << YAML::BeginSeq;
      for (auto& element : value) {
        out_ << YAML::Flow;
        print(element);
      }
      out_ << YAML::EndSeq;
    } else if constexpr (std::is_same_v<T, MiniSequence>) {
      if (value.kind == MiniSequence::Kind::count)
        out_ << YAML::Flow << YAML::BeginMap << YAML::Key << "count" << YAML::Value << value.amount << YAML::EndMap;
      else
        out_ << text_of(value);
    } else {
      out_ << as_utf8(text_of(value));  // the emitter takes characters, and a path is any bytes
    }
  }

 private:
  YAML::Emitter& out_;
};

/// Lists `a.b.0.c` and the text of its value.
class Lister {
 public:
  Lister(std::string path, std::vector<std::pair<std::string, std::string>>& keys)
      : path_(std::move(path)), keys_(keys) {}

  template <class T>
  void operator()(const char* key, T& value, const char* /*help*/, Bounds = {}) {
    if (!has_no_value(value)) list(join_key(path_, key), value);
  }

 private:
  template <class T>
  void list(const std::string& path, T& value) {
    if constexpr (Section<T>) {
      value.visit(Lister(path, keys_));
    } else if constexpr (is_vector<T>) {
      if constexpr (Section<typename T::value_type>) {
        for (size_t i = 0; i < value.size(); ++i) list(path + "." + std::to_string(i), value[i]);
      } else {
        keys_.emplace_back(path, text_of(value));
      }
    } else {
      keys_.emplace_back(path, text_of(value));
    }
  }

  std::string path_;
  std::vector<std::pair<std::string, std::string>>& keys_;
};

}  // namespace

std::string print_recipe(const Recipe& recipe) {
  auto copy = recipe;  // visit() hands out references that may be written to
  YAML::Emitter out;
  Printer(out).print(copy);
  return bytes_of_utf8(out.c_str()) + "\n";
}

std::vector<std::pair<std::string, std::string>> list_keys(const Recipe& recipe) {
  auto copy = recipe;
  std::vector<std::pair<std::string, std::string>> keys;
  copy.visit(Lister("", keys));
  return keys;
}

std::vector<KeyChange> changed_keys(const Recipe& before, const Recipe& after) {
  const auto old_keys = list_keys(before), new_keys = list_keys(after);
  const auto find = [](const auto& keys, const std::string& key) {
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const auto& entry) { return entry.first == key; });
    return found == keys.end() ? std::string() : found->second;
  };
  std::vector<KeyChange> changes;
  for (const auto& [key, text] : old_keys)
    if (const auto now = find(new_keys, key); now != text) changes.push_back({key, text, now});
  for (const auto& [key, text] : new_keys)
    if (find(old_keys, key).empty()) changes.push_back({key, "", text});
  return changes;
}

}  // namespace accordion
