#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "model/config_keys.h"

namespace accordion {
namespace {

using Scaling = ModelConfig::RotaryScaling;

struct Rotary {
  double base = 10000, fraction = 1;
  Scaling scaling;

  bool operator==(const Rotary& other) const {
    const auto& a = scaling;
    const auto& b = other.scaling;
    return base == other.base && fraction == other.fraction && a.kind == b.kind && a.factor == b.factor &&
           a.low_frequency == b.low_frequency && a.high_frequency == b.high_frequency &&
           a.original_positions == b.original_positions;
  }
};

constexpr const char* kOriginalPositions = "original_max_position_embeddings";

/// Members of rope_parameters that transformers knows for some kind (its `RopeParameters`), beside base and share.
const std::vector<std::string> kScalingMembers{
    "factor",    "low_freq_factor", "high_freq_factor", kOriginalPositions, "attention_factor", "beta_fast",
    "beta_slow", "short_factor",    "long_factor",      "mscale",           "mscale_all_dim",   "truncate"};

/// What kind of scaling an object says, as `rope_type` (transformers since 4.43) or `type`.
std::string kind_of(const Keys& place) {
  const auto newer = place.word("rope_type", ""), older = place.word("type", "");
  if (!newer.empty() && !older.empty() && newer != older)
    throw place.error("type", "'" + older + "' and rope_type '" + newer + "' differ");
  if (!newer.empty() || !older.empty()) return newer.empty() ? older : newer;
  for (const auto& name : kScalingMembers) {
    if (place.has(name)) throw place.error("rope_type", "is missing beside " + name);
  }
  return "default";
}

Scaling scaling_of(const Keys& place, const Keys& keys) {
  const auto kind = kind_of(place);
  std::vector<std::string> needs;
  Scaling scaling;
  if (kind == "linear") {
    scaling.kind = Scaling::Kind::linear;
    needs = {"factor"};
  } else if (kind == "llama3") {
    scaling.kind = Scaling::Kind::llama3;
    needs = {"factor", "low_freq_factor", "high_freq_factor", kOriginalPositions};
  } else if (kind != "default") {
    throw place.error("rope_type", "'" + kind + "' is not supported; one of: default, linear, llama3");
  }
  for (const auto& name : needs) {
    if (!place.has(name)) throw place.error(name, "is missing");
  }
  auto known = kScalingMembers;
  known.insert(known.end(), {"rope_type", "type", "rope_theta", "partial_rotary_factor"});
  place.only_keys(known);
  for (const auto& name : kScalingMembers) {
    if (place.has(name) && std::find(needs.begin(), needs.end(), name) == needs.end())
      place.note(name, "has no meaning with rope_type '" + kind + "'");
  }
  if (!needs.empty()) scaling.factor = place.positive("factor", 1);
  if (scaling.kind != Scaling::Kind::llama3) return scaling;
  scaling.low_frequency = place.positive("low_freq_factor", 1);
  scaling.high_frequency = place.positive("high_freq_factor", 4);
  scaling.original_positions = place.count(kOriginalPositions);
  if (scaling.high_frequency <= scaling.low_frequency)
    throw place.error("high_freq_factor", "must be above low_freq_factor");
  if (keys.has(kOriginalPositions) && keys.count(kOriginalPositions) != scaling.original_positions)
    throw keys.error(kOriginalPositions, "is set twice, to different values");
  return scaling;
}

/// A setting of the object `place` (where there is one) or of the family's own key.
double value_of(const Keys& keys, const Keys* place, const std::string& member, const std::string& own,
                double fallback) {
  const double outside = keys.positive(own, fallback);
  if (!place || !place->named(member)) return outside;
  const double value = place->positive(member, fallback);
  if (keys.has(own) && outside != value) throw keys.error(own, "is set twice, to different values");
  return value;
}

Rotary rotary_of(const Keys& keys, const Keys* place, const RotaryNames& names) {
  Rotary result;
  result.base = value_of(keys, place, "rope_theta", names.base, 10000);
  result.fraction = value_of(keys, place, "partial_rotary_factor", names.fraction, names.default_fraction);
  if (place) result.scaling = scaling_of(*place, keys);
  return result;
}

/// The objects in which `key` holds settings: itself, or one for each type of layer that the file has.
std::vector<Keys> places_in(const Keys& keys, const std::string& key) {
  const Keys place = keys.inside(key);
  const auto members = place.names();
  if (std::none_of(members.begin(), members.end(), [&](const auto& name) { return place.is_object(name); }))
    return {place};
  const auto types = keys.words("layer_types");
  std::vector<Keys> result;
  for (const auto& type : types) {
    if (!place.is_object(type)) throw place.error(type, "is missing, but layer_types names it");
  }
  for (const auto& name : members) {
    if (std::find(types.begin(), types.end(), name) == types.end())
      throw place.error(name, "stands among rotary settings by type of layer, but layer_types does not name it");
    result.push_back(place.inside(name));
  }
  return result;
}

}  // namespace

void read_rotary(const Keys& keys, const RotaryNames& names, ModelConfig& config) {
  std::optional<Rotary> found;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!keys.has(key)) continue;
    for (const auto& place : places_in(keys, key)) {
      const auto settings = rotary_of(keys, &place, names);
      if (found && !(*found == settings))
        throw keys.error(key,
                         "holds rotary settings that differ from others of this file, between rope_scaling and "
                         "rope_parameters or between types of layers; that is not supported");
      found = settings;
    }
  }
  if (!found) found = rotary_of(keys, nullptr, names);
  // Keys that other families have: transformers does not read them here.
  const std::array<std::pair<const char*, double>, 2> others{
      {{"rope_theta", found->base}, {"partial_rotary_factor", found->fraction}}};
  for (const auto& [key, value] : others) {
    if (key != names.base && key != names.fraction && keys.positive(key, value) != value)
      throw keys.error(key, "is not read by transformers in " + name_of(config.family) + ", which takes " + names.base +
                                " and " + names.fraction);
  }
  keys.named(kOriginalPositions);  // without llama3 it has no meaning
  config.rotary_base = found->base;
  config.rotary_fraction = found->fraction;
  config.rotary_scaling = found->scaling;
}

}  // namespace accordion
