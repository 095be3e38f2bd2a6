#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

#include "recipe/origins.h"

namespace accordion {

/// Puts `a.b.0.c=value` into a tree, making the sections on the way that are missing; a number selects an element of a
/// list. The value is YAML. Whether the key exists is the reader's question. UserError: no `=`, no YAML, no such
/// element.
void apply_override(YAML::Node root, const std::string& text, Origins& origins);

}  // namespace accordion
