#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "command/command.h"
#include "command/text_options.h"
#include "data/train_tokenizer.h"
#include "report/progress.h"

namespace accordion {
namespace {

struct Options {
  TrainTokenizerOptions train;
  std::string vocabulary;
};

int run(Options& options) {
  // 256 bytes, three control pieces, and at least a few characters.
  const auto vocabulary = parse_count(options.vocabulary);
  if (!vocabulary || *vocabulary < 300 || *vocabulary > 1 << 20)
    throw UserError("--vocab '" + options.vocabulary + "': want a number of pieces from 300 to 1,048,576");
  options.train.vocabulary = *vocabulary;
  std::optional<Progress> bar;
  train_tokenizer(options.train, [&](double bytes, double total) {
    if (!bar) bar.emplace("tokenizer: read", total);
    bar->update(bytes);
  });
  bar.reset();
  std::cout << "a tokenizer of " << format_thousands(*vocabulary) << " pieces -> " << options.train.out << "\n";
  return 0;
}

}  // namespace

void add_tokenizer(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto& to = options->train;
  auto* command = app.add_subcommand("tokenizer", "train a byte-fallback BPE tokenizer with sentencepiece");
  add_text_options(*command, to.inputs, to.text_field, to.glob, to.input_kind);
  command->add_option("--vocab", options->vocabulary, "pieces, as in 8192 or 32k")->required();
  command->add_option("--out", to.out, "folder of the tokenizer; one that is there is replaced")->required();
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace accordion
