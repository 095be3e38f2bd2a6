#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/files.h"
#include "command/command.h"
#include "report/comparison.h"

namespace accordion {
namespace {

struct Options {
  std::vector<std::string> runs;
  bool json = false;
  std::string html;
};

void compare(const Options& options) {
  const Comparison comparison(options.runs);
  for (const auto& caveat : comparison.caveats()) std::cerr << "note: " << caveat << "\n";
  if (!options.html.empty()) write_file(options.html, comparison.html());
  if (options.json) {
    std::cout << comparison.json().dump(2) << "\n";
  } else {
    std::cout << comparison.text();
  }
  if (!options.html.empty()) std::cerr << "wrote " << options.html << "\n";
}

}  // namespace

void add_compare(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("compare", "runs side by side: loss by length against tokens, FLOPs and seconds");
  auto options = std::make_shared<Options>();
  command->add_option("RUN", options->runs, "run folders; the others are compared with the first")->required();
  command->add_flag("--json", options->json, "one JSON document on standard output");
  command->add_option("--html", options->html, "write a page with plots that stands by itself");
  command->callback([options, &exit_code] {
    compare(*options);
    exit_code = 0;
  });
}

}  // namespace accordion
