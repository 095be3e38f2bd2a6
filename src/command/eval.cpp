#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "command/command.h"
#include "command/overrides.h"
#include "eval/loss_by_length.h"
#include "memory/device.h"
#include "model/weights.h"
#include "report/table.h"
#include "train/step.h"

namespace accordion {
namespace {

struct Options {
  std::string model, data;
  std::vector<std::string> lengths, overrides;
  std::string tokens = "65536";
  bool json = false;
};

int64_t positive_count(const std::string& text, const std::string& option) {
  const auto count = parse_count(text);
  if (!count || *count < 1) throw UserError(option + ": '" + text + "' is not a number of tokens, such as 1024 or 16k");
  return *count;
}

int eval(const Options& options) {
  const auto recipe = recipe_of_overrides(
      options.overrides, {"precision", "seed", "data.document_mask", "data.restart_positions"}, Precision::f32);
  std::vector<int64_t> lengths;
  for (const auto& text : options.lengths) lengths.push_back(positive_count(text, "--lengths"));
  const LossByLength validation(options.data, lengths, positive_count(options.tokens, "--tokens"),
                                step_form(recipe, device()).pass);
  const auto model = open_model(find_model(options.model), training_dtype(recipe.precision), device(), recipe.seed);
  validation.check(model.config());
  if (!validation.note().empty()) std::cerr << "note: " << validation.note() << "\n";
  auto results = nlohmann::json::array();
  Table table({"length", "loss", "perplexity", "tokens"}, 0);
  for (int64_t length : validation.lengths()) {
    const auto result = validation.evaluate(model, length).value();  // a signal has ended the process by itself
    results.push_back(
        {{"length", length}, {"loss", result.loss}, {"perplexity", std::exp(result.loss)}, {"tokens", result.tokens}});
    table.row({std::to_string(length), format("%.4f", result.loss), format("%.3f", std::exp(result.loss)),
               format_thousands(result.tokens)});
  }
  if (options.json) {
    std::cout << json_text(nlohmann::json{{"lengths", results}}, 2) << "\n";
  } else {
    std::cout << table.text();
  }
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto* sub = app.add_subcommand("eval", "loss and perplexity of a model by length, on a corpus's validation split");
  sub->add_option("MODEL", options->model, "model directory, run folder, checkpoint, config.json or a name in models/")
      ->required();
  sub->add_option("--data", options->data, "corpus folder")->required();
  sub->add_option("--lengths", options->lengths, "lengths to evaluate at, with commas between")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_option("--tokens", options->tokens, "validation tokens, the same ones at every length")
      ->capture_default_str();
  sub->add_flag("--json", options->json, "print one JSON document");
  sub->add_option("key=value", options->overrides, "precision, seed, data.document_mask, data.restart_positions");
  sub->callback([options, &exit_code] { exit_code = eval(*options); });
}

}  // namespace accordion
