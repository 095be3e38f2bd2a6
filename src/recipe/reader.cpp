#include "recipe/reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/files.h"
#include "base/text.h"
#include "recipe/override.h"
#include "recipe/sections.h"

namespace accordion {
namespace {

/// `'abc'`, `a list`, `a map` or `nothing`, for messages.
std::string described(const YAML::Node& node) {
  if (node.IsScalar()) return "'" + node.Scalar() + "'";
  return node.IsSequence() ? "a list" : node.IsMap() ? "a map" : "nothing";
}

std::string plain(double number) { return format("%.10g", number); }

/// `at least 1`, `within 0..1`.
std::string described(const Bounds& bounds) {
  if (std::isfinite(bounds.max)) return "within " + plain(bounds.min) + ".." + plain(bounds.max);
  return "at least " + plain(bounds.min);
}

/// The visitor that fills in one section; one overload of read() for each type that a key may have.
class Reader {
 public:
  Reader(YAML::Node node, std::string path, Origins& origins)
      : node_(std::move(node)), path_(std::move(path)), origins_(origins) {}

  template <class T>
  void operator()(const char* key, T& value, const char* /*help*/, Bounds bounds = {}) {
    const YAML::Node child = std::as_const(node_)[key];
    if (!child.IsDefined()) return;
    // An empty value has no place of its own.
    const auto mark = child.IsNull() ? key_marks_.at(key) : child.Mark();
    origins_.note(join_key(path_, key), mark.line + 1, mark.column + 1);
    read(child, join_key(path_, key), bounds, value);
  }

  template <Section T>
  void read_section(T& value) {
    std::vector<std::string> known;
    value.visit([&](const char* key, auto&&...) { known.emplace_back(key); });
    if (node_.IsNull()) return;  // a section whose keys are all commented out
    if (!node_.IsMap()) throw wrong(node_, path_, "a section of keys such as {" + known.front() + ": ...}");
    check_keys(known);
    // Units of an amount replace the default ones: {tokens: 1e6} does not also mean 200 steps.
    if constexpr (std::is_same_v<T, Amount>) value = {};
    value.visit(*this);
  }

 private:
  UserError wrong(const YAML::Node& node, const std::string& path, const std::string& wanted) const {
    return origins_.error(path, "must be " + wanted + ", not " + described(node));
  }

  void check_keys(const std::vector<std::string>& known) {
    for (const auto& entry : node_) {
      const auto mark = entry.first.Mark();
      const auto key = entry.first.IsScalar() ? entry.first.Scalar() : described(entry.first);
      const auto refuse = [&](const std::string& what) {
        return origins_.error(join_key(path_, key), mark.line + 1, mark.column + 1, what);
      };
      if (std::find(known.begin(), known.end(), key) == known.end())
        throw refuse("unknown key" + suggestion(key, known));
      if (!key_marks_.emplace(key, mark).second) throw refuse("written twice; keep one of the two");
    }
  }

  template <class T>
  void read(const YAML::Node& node, const std::string& path, Bounds bounds, T& value) {
    if constexpr (std::is_same_v<T, Source>) {
      if (node.IsScalar()) {
        value = {.path = node.Scalar()};
        return;
      }
    }
    if constexpr (std::is_same_v<T, OffloadRecipe>) {
      if (node.IsScalar()) {
        value = {};
        read_scalar(node, path, bounds, value.to);
        return;
      }
    }
    if constexpr (std::is_same_v<T, NotYet>) {
      if (!node.IsNull() && !(node.IsScalar() && (node.Scalar() == "false" || node.Scalar() == "off")))
        throw origins_.error(path, "is not available yet; leave it out");
    } else if constexpr (is_optional<T>) {
      value.reset();
      if (!node.IsNull()) read(node, path, bounds, value.emplace());
    } else if constexpr (Section<T>) {
      Reader(node, path, origins_).read_section(value);
    } else if constexpr (is_vector<T>) {
      read_list(node, path, bounds, value);
    } else {
      if (!node.IsScalar() && !std::is_same_v<T, MiniSequence>) throw wrong(node, path, wanted(value));
      read_scalar(node, path, bounds, value);
    }
  }

  /// A list; one element alone may stand without brackets.
  template <class T>
  void read_list(const YAML::Node& node, const std::string& path, Bounds bounds, std::vector<T>& list) {
    if (node.IsNull()) throw wrong(node, path, "a list");
    list.clear();
    if (!node.IsSequence()) {
      if (is_vector<T>) throw wrong(node, path, "a list");
      read(node, path, bounds, list.emplace_back());
      return;
    }
    for (size_t i = 0; i < node.size(); ++i) {
      const auto element = path + "." + std::to_string(i);
      origins_.note(element, node[i].Mark().line + 1, node[i].Mark().column + 1);
      read(node[i], element, bounds, list.emplace_back());
    }
  }

  static std::string wanted(const std::string&) { return "text"; }
  static std::string wanted(bool) { return "true or false"; }
  static std::string wanted(int64_t) { return "a whole number such as 1024, 16k or 20e6"; }
  static std::string wanted(double) { return "a number such as 0.1 or 3e-4"; }
  static std::string wanted(const AutoCount&) { return "auto or a whole number"; }
  static std::string wanted(const Until&) { return "a number or `end`"; }
  static std::string wanted(const MiniSequence&) { return "off, auto, a number of tokens, or {count: M}"; }
  template <Named E>
  static std::string wanted(E) {
    std::string names;
    for (const auto& name : all_names<E>()) names += (names.empty() ? "one of " : ", ") + name;
    return names;
  }

  void check_bounds(const std::string& path, const Bounds& bounds, double number, const std::string& text) const {
    if (number < bounds.min || number > bounds.max)
      throw origins_.error(path, "must be " + described(bounds) + ", not " + text);
  }

  void read_scalar(const YAML::Node& node, const std::string& /*path*/, Bounds, std::string& value) {
    value = node.Scalar();
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds, bool& value) {
    if (node.Scalar() != "true" && node.Scalar() != "false") throw wrong(node, path, wanted(value));
    value = node.Scalar() == "true";
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds bounds, int64_t& value) {
    const auto number = parse_count(node.Scalar());
    if (!number) throw wrong(node, path, wanted(value));
    check_bounds(path, bounds, static_cast<double>(*number), node.Scalar());
    value = *number;
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds bounds, double& value) {
    auto number = parse_real(node.Scalar());
    if (const auto count = parse_count(node.Scalar()); !number && count) number = static_cast<double>(*count);  // 16k
    if (!number) throw wrong(node, path, wanted(value));
    check_bounds(path, bounds, *number, node.Scalar());
    value = *number;
  }

  template <Named E>
  void read_scalar(const YAML::Node& node, const std::string& path, Bounds, E& value) {
    if (!parse_name(node.Scalar(), value))
      throw origins_.error(path, "unknown value '" + node.Scalar() + "'" + suggestion(node.Scalar(), all_names<E>()));
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds bounds, AutoCount& value) {
    value.count.reset();
    if (node.Scalar() == "auto") return;
    if (!parse_count(node.Scalar())) throw wrong(node, path, wanted(value));
    read_scalar(node, path, bounds, value.count.emplace());
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds bounds, Until& value) {
    value.at.reset();
    if (node.Scalar() == "end") return;
    if (!parse_real(node.Scalar()) && !parse_count(node.Scalar())) throw wrong(node, path, wanted(value));
    read_scalar(node, path, bounds, value.at.emplace());
  }

  void read_scalar(const YAML::Node& node, const std::string& path, Bounds bounds, MiniSequence& value) {
    if (node.IsMap() && node.size() == 1 && std::as_const(node)["count"].IsDefined()) {
      value.kind = MiniSequence::Kind::count;
      read(node["count"], path + ".count", bounds, value.amount);
      return;
    }
    value.amount = 0;
    if (!node.IsScalar()) throw wrong(node, path, wanted(value));
    if (node.Scalar() == "off" || node.Scalar() == "auto") {
      value.kind = node.Scalar() == "off" ? MiniSequence::Kind::off : MiniSequence::Kind::automatic;
      return;
    }
    if (!parse_count(node.Scalar())) throw wrong(node, path, wanted(value));
    value.kind = MiniSequence::Kind::tokens;
    read_scalar(node, path, bounds, value.amount);
  }

  YAML::Node node_;
  std::map<std::string, YAML::Mark> key_marks_;
  std::string path_;
  Origins& origins_;
};

}  // namespace

WrittenRecipe parse_recipe(const std::string& text, const std::string& name,
                           const std::vector<std::string>& overrides) {
  WrittenRecipe written{.recipe = {}, .origins = Origins(name)};
  YAML::Node root(YAML::NodeType::Map);
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() > 1) throw UserError(name + ": holds several YAML documents; a recipe is one");
    if (!documents.empty() && !documents[0].IsNull()) root.reset(documents[0]);
  } catch (const YAML::ParserException& error) {
    throw error_at(name, error.mark.line + 1, error.mark.column + 1, "", "not valid YAML: " + error.msg);
  }
  if (!root.IsMap()) throw UserError(name + ": a recipe is a map of keys such as `model: ...`, not " + described(root));
  for (const auto& override_text : overrides) apply_override(root, override_text, written.origins);
  Reader(root, "", written.origins).read_section(written.recipe);
  return written;
}

WrittenRecipe read_recipe(const std::string& path, const std::vector<std::string>& overrides) {
  if (path.empty()) return parse_recipe("", "recipe", overrides);
  return parse_recipe(read_file(path), path, overrides);
}

}  // namespace accordion
