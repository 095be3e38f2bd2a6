#include "eval/score.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/files.h"
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

/// The sequences of a JSON file `[[id,...],...]`, every id one of the model's.
std::vector<std::vector<int64_t>> read_sequences(const std::string& file, const ModelConfig& config) {
  const auto document = nlohmann::json::parse(read_file(file), nullptr, false);
  if (document.is_discarded()) throw UserError(file + ": not valid JSON");
  if (!document.is_array()) throw UserError(file + ": should be a list of lists of token ids, [[id,...],...]");
  std::vector<std::vector<int64_t>> sequences;
  for (const auto& row : document) {
    const auto place = file + ": sequence " + std::to_string(sequences.size() + 1);
    if (!row.is_array()) throw UserError(place + " is not a list of token ids");
    std::vector<int64_t> ids;
    for (const auto& value : row) {
      if (!value.is_number_integer()) throw UserError(place + ": " + json_text(value) + " is not a token id");
      const auto id = value.get<int64_t>();
      if (id < 0 || id >= config.vocabulary) {
        throw UserError(place + ": id " + std::to_string(id) + " is outside the model's vocabulary of " +
                        std::to_string(config.vocabulary));
      }
      ids.push_back(id);
    }
    // The last token is only a target.
    const auto positions = static_cast<int64_t>(ids.size()) - 1;
    if (config.position == PositionKind::learned && positions > config.max_positions) {
      throw UserError(place + " has " + std::to_string(ids.size()) + " tokens, but the model's table has " +
                      std::to_string(config.max_positions) + " positions; cut it into shorter ones");
    }
    sequences.push_back(std::move(ids));
  }
  return sequences;
}

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
