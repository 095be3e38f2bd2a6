#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "data/text_format.h"

namespace accordion {

/// INPUT, --text-field, --glob and --input-kind: the text that a command reads. The references must outlive the
/// command.
void add_text_options(CLI::App& command, std::vector<std::string>& inputs, std::string& text_field, std::string& glob,
                      InputKind& kind);

}  // namespace accordion
