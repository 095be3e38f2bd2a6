#pragma once

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/names.h"
#include "model/config.h"

namespace accordion {

/// Typed look-ups in one object of a config.json; null counts as absent where not said otherwise, as in transformers.
class Keys {
 public:
  Keys(const nlohmann::json& object, std::string origin, std::string prefix = "")
      : object_(object), origin_(std::move(origin)), prefix_(std::move(prefix)) {
    if (!object.is_object()) throw UserError(origin_ + ": " + prefix_ + " is not a JSON object");
  }

  bool has(const std::string& key) const { return named(key) && !object_[key].is_null(); }
  bool named(const std::string& key) const { return object_.contains(key); }  ///< null or not

  int64_t count(const std::string& key) const {
    if (!has(key)) throw error(key, "is missing");
    return count(key, 0);
  }
  int64_t count(const std::string& key, int64_t fallback, int64_t least = 1) const {
    if (!has(key)) return fallback;
    const auto& value = object_[key];
    if (!value.is_number_integer() || value.get<int64_t>() < least)
      throw error(key, "must be a whole number of at least " + std::to_string(least));
    return value.get<int64_t>();
  }
  double real(const std::string& key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_number()) throw error(key, "must be a number");
    return object_[key].get<double>();
  }
  double positive(const std::string& key, double fallback) const {
    const double value = real(key, fallback);
    if (!(value > 0)) throw error(key, "must be above 0");
    return value;
  }
  bool flag(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) throw error(key, "must be true or false");
    return object_[key].get<bool>();
  }
  /// Keys with a default that null turns off: `fallback` where the key is absent, 0 where it is null.
  int64_t count_or_off(const std::string& key, int64_t fallback) const { return count(key, named(key) ? 0 : fallback); }
  double positive_or_off(const std::string& key, double fallback) const {
    if (has(key)) return positive(key, fallback);
    return named(key) ? 0 : fallback;
  }
  std::string word(const std::string& key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) throw error(key, "must be a string");
    return object_[key].get<std::string>();
  }
  /// A token id; the first of a list of several, -1 where there is none.
  int64_t token(const std::string& key) const {
    if (!has(key)) return -1;
    const auto& value = object_[key];
    const auto& first = value.is_array() && !value.empty() ? value[0] : value;
    if (!first.is_number_integer()) throw error(key, "must be a token id");
    return first.get<int64_t>();
  }
  /// Strings of a list; empty where there is none.
  std::vector<std::string> words(const std::string& key) const {
    std::vector<std::string> result;
    if (!has(key)) return result;
    if (!object_[key].is_array()) throw error(key, "must be a list of strings");
    for (const auto& item : object_[key]) {
      if (!item.is_string()) throw error(key, "must be a list of strings");
      result.push_back(item.get<std::string>());
    }
    return result;
  }
  Keys inside(const std::string& key) const { return Keys(object_[key], origin_, prefix_ + key + "."); }

  void only_keys(const std::vector<std::string>& known) const {
    for (const auto& item : object_.items()) {
      if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
        throw error(item.key(), "is unknown" + suggestion(item.key(), known));
      }
    }
  }

  /// Refuses a setting that would change the model's results and is not implemented.
  void only(const std::string& key, std::initializer_list<nlohmann::json> supported) const {
    if (!has(key)) return;
    for (const auto& value : supported) {
      if (object_[key] == value) return;
    }
    throw error(key, object_[key].dump() + " is not supported");
  }
  UserError error(const std::string& key, const std::string& what) const {
    return UserError(origin_ + ": " + prefix_ + key + " " + what);
  }

 private:
  const nlohmann::json& object_;
  std::string origin_, prefix_;
};

/// Fills in what the file's model_type says (config.family): sizes, norms, MLP, positions, windows.
void read_family(const Keys& keys, ModelConfig& config);

}  // namespace accordion
