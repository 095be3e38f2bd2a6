#include "eval/generate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "command/command.h"
#include "command/overrides.h"
#include "data/tokenizer.h"
#include "memory/device.h"
#include "model/weights.h"
#include "train/step.h"

namespace accordion {
namespace {

struct Options {
  std::string model, prompt;
  Sampling sampling;
  std::vector<std::string> overrides;
};

/// Says what goes before the prompt, where the tokenizer has a token for that.
void note_beginning(const Tokenizer& tokenizer) {
  const auto& beginning = tokenizer.beginning();
  const auto& begin = tokenizer.special_tokens().begin;
  if (beginning.ids.empty() && (!begin || !beginning.chosen)) return;
  std::string tokens;
  for (const auto id : beginning.ids) tokens += (tokens.empty() ? "" : " ") + tokenizer.token(id).text();
  std::cerr << "notice: " << (beginning.ids.empty() ? "no " + begin->text() : tokens)
            << " before the prompt: " << beginning.origin << "\n";
}

/// The prompt's ids: what the tokenizer puts before a text, but for a prompt that begins with it, then the text's. What
/// it would put behind a text (an end) does not belong to a prompt.
std::vector<int64_t> encode_prompt(const Tokenizer& tokenizer, const std::string& prompt, const ModelConfig& config) {
  auto ids = tokenizer.encode(prompt);
  const auto& before = tokenizer.beginning().ids;
  const bool there = ids.size() >= before.size() && std::equal(before.begin(), before.end(), ids.begin());
  if (!there) ids.insert(ids.begin(), before.begin(), before.end());
  if (ids.empty()) throw UserError("--prompt '" + prompt + "' has no tokens; give a text to go on from");
  const int64_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= config.vocabulary) {
    throw UserError("the tokenizer " + tokenizer.name() + " gives id " + std::to_string(largest) +
                    ", outside the model's vocabulary of " + std::to_string(config.vocabulary) +
                    "; it belongs to another model");
  }
  return ids;
}

int generate(const Options& options) {
  const auto recipe = recipe_of_overrides(options.overrides, {"precision"}, Precision::f32);
  if (options.prompt.empty()) throw UserError("--prompt is empty; give the text to go on from");
  const auto location = find_model(options.model);
  const auto tokenizer = Tokenizer::load(location.directory.string());
  const auto model = open_model(location, training_dtype(recipe.precision), device(), options.sampling.seed);
  const auto prompt = encode_prompt(tokenizer, options.prompt, model.config());

  auto ends = end_ids(model.config(), read_generation_config(location.directory));
  if (const auto& end = tokenizer.special_tokens().end) ends.push_back(end->id);

  auto sampling = options.sampling;
  sampling.vocabulary = tokenizer.vocabulary();  // a padded vocabulary has ids that mean nothing
  note_beginning(tokenizer);
  StreamDecoder decoder(tokenizer, prompt);
  std::cout << options.prompt << std::flush;
  generate(model, prompt, sampling, [&](int64_t id) {
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) return false;
    std::cout << decoder.add(id) << std::flush;
    return true;
  });
  std::cout << decoder.finish() << "\n";
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto& sampling = options->sampling;
  auto* sub = app.add_subcommand("generate", "continue a text");
  sub->add_option("MODEL", options->model, "model directory, run folder or checkpoint, with its tokenizer")->required();
  sub->add_option("--prompt", options->prompt, "the text to go on from")->required();
  sub->add_option("--max-tokens", sampling.max_tokens, "most tokens to generate")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  sub->add_option("--temperature", sampling.temperature, "divides the logits; 0 takes the likeliest token")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  sub->add_option("--top-p", sampling.top_p, "draw from the likeliest tokens that make up this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  sub->add_option("--seed", sampling.seed, "of the draws")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 62))
      ->capture_default_str();
  sub->add_option("key=value", options->overrides, "precision (default f32)");
  sub->callback([options, &exit_code] { exit_code = generate(*options); });
}

}  // namespace accordion
