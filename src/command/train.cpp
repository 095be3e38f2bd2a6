#include <CLI/CLI.hpp>
#include <memory>

#include "command/command.h"
#include "report/run_folder.h"
#include "report/run_log.h"
#include "schedule/resolve.h"
#include "train/trainer.h"

namespace accordion {
namespace {

struct Options {
  std::string recipe;
  std::vector<std::string> overrides;
  bool fresh = false;
};

int train(const Options& options) {
  const auto recipe = load_recipe(options.recipe, options.overrides);
  const RunFolder folder(recipe.run);
  if (options.fresh) remove_run_files(recipe.run);
  return Trainer(recipe).run();
}

}  // namespace

void add_train(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto* sub = app.add_subcommand("train", "train a model; goes on where the run folder's newest checkpoint stands");
  sub->add_option("RECIPE", options->recipe, "recipe file (YAML)")->required();
  sub->add_flag("--fresh", options->fresh, "delete the run's own files first and start anew");
  sub->add_option("key=value", options->overrides, "override keys of the recipe");
  sub->callback([options, &exit_code] { exit_code = train(*options); });
}

}  // namespace accordion
