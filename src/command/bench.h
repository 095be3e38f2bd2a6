#pragma once

#include <string>

#include "recipe/recipe.h"

namespace CLI {
class App;
}

/// The subcommands of `bench`, one file each.
namespace accordion {

void add_bench_step(CLI::App& bench, int& exit_code);
void add_bench_memory(CLI::App& bench, int& exit_code);
void add_bench_op(CLI::App& bench, int& exit_code);

/// The value of --precision.
Precision parse_precision(const std::string& text);
/// The value of an option that takes a number of tokens.
int64_t parse_tokens(const std::string& text, const std::string& option);

}  // namespace accordion
