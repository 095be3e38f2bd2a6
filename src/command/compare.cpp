#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/files.h"
#include "base/json.h"
#include "base/stop.h"
#include "command/command.h"
#include "report/comparison.h"

namespace accordion {
namespace {

struct Options {
  std::vector<std::string> runs;
  bool json = false;
  std::string html;
};

int compare(const Options& options) {
  const Comparison comparison(options.runs);
  for (const auto& caveat : comparison.caveats()) std::cerr << "note: " << caveat << "\n";
  if (!options.html.empty()) {
    catch_stop_signals();  // nothing half written
    write_file(options.html, comparison.html());
    if (stop_signal() != 0) return 128 + stop_signal();
  }
  if (options.json) {
    std::cout << json_text(comparison.json(), 2) << "\n";
  } else {
    std::cout << comparison.text();
  }
  if (!options.html.empty()) std::cerr << "wrote " << options.html << "\n";
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("compare", "runs side by side: loss by length against tokens, FLOPs and seconds");
  auto options = std::make_shared<Options>();
  command->add_option("RUN", options->runs, "run folders; the others are compared with the first")->required();
  command->add_flag("--json", options->json, "one JSON document on standard output");
  command->add_option("--html", options->html, "write a page with plots that stands by itself");
  command->callback([options, &exit_code] { exit_code = compare(*options); });
}

}  // namespace accordion
