#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace accordion {

/// Pages that stand by themselves: markup, style, script and plot library, made at build time from the .html.in files
/// of this folder. Their data is still to come.
extern const std::string_view kComparisonPage, kTimelinePage;

/// The page with its data in place. Whatever the strings of the data hold, it cannot end the script.
std::string filled_page(std::string_view page, const nlohmann::ordered_json& data);

}  // namespace accordion
