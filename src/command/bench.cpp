#include "command/bench.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"
#include "command/command.h"

namespace accordion {

Precision parse_precision(const std::string& text) {
  Precision precision;
  if (!parse_name(text, precision))
    throw UserError("--precision: '" + text + "' is not a precision" + suggestion(text, all_names<Precision>()));
  return precision;
}

int64_t parse_tokens(const std::string& text, const std::string& option) {
  const auto count = parse_count(text);
  if (!count || *count < 1) throw UserError(option + ": '" + text + "' is not a number of tokens, such as 1024 or 16k");
  return *count;
}

void add_bench(CLI::App& app, int& exit_code) {
  auto* bench = app.add_subcommand("bench", "measure");
  bench->require_subcommand(1);
  for (auto* add : {add_bench_step, add_bench_memory, add_bench_op}) add(*bench, exit_code);
}

}  // namespace accordion
