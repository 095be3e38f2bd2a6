#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "model/config.h"

namespace accordion {

/// Typed look-ups in one object of a config.json. Every key that is asked for counts as read, in all copies and inner
/// objects together, so that unread() can tell what a file says and nobody heard. A null is an error, as in
/// transformers, but for keys that say what it stands for.
class Keys {
 public:
  Keys(const nlohmann::json& object, std::string origin) : Keys(object, std::move(origin), "", {}) {}

  bool has(const std::string& key) const { return named(key) && !object_[key].is_null(); }
  bool named(const std::string& key) const {  ///< null or not
    log_->read.insert(prefix_ + key);
    return object_.contains(key);
  }
  bool is_object(const std::string& key) const { return has(key) && object_[key].is_object(); }

  int64_t count(const std::string& key) const {
    if (!has(key)) throw error(key, "is missing");
    return count(key, 0);
  }
  int64_t count(const std::string& key, int64_t fallback, int64_t least = 1) const {
    if (!given(key)) return fallback;
    const auto& value = object_[key];
    if (!value.is_number_integer() || value.get<int64_t>() < least)
      throw error(key, "must be a whole number of at least " + std::to_string(least));
    return value.get<int64_t>();
  }
  double real(const std::string& key, double fallback) const {
    if (!given(key)) return fallback;
    if (!object_[key].is_number()) throw error(key, "must be a number");
    return object_[key].get<double>();
  }
  double positive(const std::string& key, double fallback) const {
    const double value = real(key, fallback);
    if (!(value > 0)) throw error(key, "must be above 0");
    return value;
  }
  bool flag(const std::string& key, bool fallback) const {
    if (!given(key)) return fallback;
    if (!object_[key].is_boolean()) throw error(key, "must be true or false");
    return object_[key].get<bool>();
  }
  /// Keys for which null has a meaning of its own.
  int64_t count_or_null(const std::string& key, int64_t absent, int64_t null) const {
    return has(key) ? count(key) : named(key) ? null : absent;
  }
  /// Keys with a default that null turns off: `fallback` where the key is absent, 0 where it is null.
  double positive_or_off(const std::string& key, double fallback) const {
    if (has(key)) return positive(key, fallback);
    return named(key) ? 0 : fallback;
  }
  std::string word(const std::string& key, const std::string& fallback) const {
    if (!given(key)) return fallback;
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
  Keys inside(const std::string& key) const {
    named(key);
    log_->read.insert(prefix_ + key + ".");  // unread() goes into it
    return Keys(object_[key], origin_, prefix_ + key + ".", log_);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& item : object_.items()) result.push_back(item.key());
    return result;
  }

  void only_keys(const std::vector<std::string>& known) const {
    for (const auto& name : names()) {
      if (std::find(known.begin(), known.end(), name) == known.end())
        throw error(name, "is unknown" + suggestion(name, known));
    }
  }

  /// Refuses a setting that would change the model's results and is not implemented.
  void only(const std::string& key, std::initializer_list<nlohmann::json> supported) const {
    if (!has(key)) return;
    for (const auto& value : supported) {
      if (object_[key] == value) return;
    }
    throw error(key, json_text(object_[key]) + " is not supported");
  }
  UserError error(const std::string& key, const std::string& what) const {
    return UserError(origin_ + ": " + prefix_ + key + " " + what);
  }
  /// Keeps a line that the person should see beside the model's name.
  void note(const std::string& key, const std::string& what) const {
    log_->notes.push_back(prefix_ + key + " " + what);
  }
  const std::vector<std::string>& notes() const { return log_->notes; }

  /// Keys that nothing has asked for, those of inner objects with the path to them.
  std::vector<std::string> unread() const {
    std::vector<std::string> result;
    for (const auto& item : object_.items()) {
      const auto path = prefix_ + item.key();
      if (log_->read.count(path) == 0) {
        result.push_back(path);
      } else if (item.value().is_object() && log_->read.count(path + ".") != 0) {
        const auto more = Keys(item.value(), origin_, path + ".", log_).unread();
        result.insert(result.end(), more.begin(), more.end());
      }
    }
    return result;
  }

 private:
  struct Log {
    std::set<std::string> read;
    std::vector<std::string> notes;
  };
  Keys(const nlohmann::json& object, std::string origin, std::string prefix, std::shared_ptr<Log> log)
      : object_(object),
        origin_(std::move(origin)),
        prefix_(std::move(prefix)),
        log_(log ? std::move(log) : std::make_shared<Log>()) {
    if (!object.is_object()) {
      const auto name = prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1) + " ";
      throw UserError(origin_ + ": " + name + "is not a JSON object");
    }
  }
  /// Whether the key is there, with a value.
  bool given(const std::string& key) const {
    if (named(key) && object_[key].is_null()) throw error(key, "is null; leave it out or give it a value");
    return has(key);
  }

  const nlohmann::json& object_;
  std::string origin_, prefix_;
  std::shared_ptr<Log> log_;
};

/// The keys of a family that hold rotary settings outside of rope_scaling and rope_parameters.
struct RotaryNames {
  std::string base, fraction;
  double default_fraction = 1;
};

/// Fills in base, share and scaling of rotary positions from wherever transformers 4 and 5 keep them: the family's own
/// keys, `rope_scaling`, `rope_parameters`, and either of these by layer type where all types say the same. UserError
/// where two places differ, since versions of transformers disagree on which holds, and where a kind of scaling or a
/// member is not supported.
void read_rotary(const Keys& keys, const RotaryNames& names, ModelConfig& config);

/// Fills in what the file's model_type says (config.family): sizes, norms, MLP, positions, windows.
void read_family(const Keys& keys, ModelConfig& config);

}  // namespace accordion
