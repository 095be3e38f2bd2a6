#include "eval/score.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/json.h"
#include "command/command.h"
#include "command/overrides.h"
#include "memory/device.h"
#include "model/weights.h"
#include "train/step.h"

namespace accordion {
namespace {

struct Options {
  std::string model, tokens;
  std::vector<std::string> overrides;
};

int score(const Options& options) {
  const auto recipe = recipe_of_overrides(options.overrides, {"precision", "seed"}, Precision::f32);
  const auto location = find_model(options.model);
  const auto sequences = read_sequences(options.tokens, load_model_config(location));
  const auto model = open_model(location, training_dtype(recipe.precision), device(), recipe.seed);
  std::cout << "[";
  for (size_t i = 0; i < sequences.size(); ++i) {
    auto row = nlohmann::json::array();
    for (const auto& value : score(model, sequences[i]))
      row.push_back(value ? nlohmann::json(*value) : nlohmann::json(nullptr));
    std::cout << (i == 0 ? "" : ",\n ") << json_text(row) << std::flush;
  }
  std::cout << "]\n";
  return 0;
}

}  // namespace

void add_score(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto* sub = app.add_subcommand("score", "log-probability of each token given those before it, as JSON");
  sub->add_option("MODEL", options->model, "model directory, run folder, checkpoint, config.json or a name in models/")
      ->required();
  sub->add_option("--tokens", options->tokens, "JSON file [[id,...],...]")->required();
  sub->add_option("key=value", options->overrides, "precision (default f32), seed");
  sub->callback([options, &exit_code] { exit_code = score(*options); });
}

}  // namespace accordion
