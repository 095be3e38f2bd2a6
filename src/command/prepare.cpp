#include "data/prepare.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/stop.h"
#include "base/text.h"
#include "command/command.h"
#include "command/text_options.h"
#include "report/progress.h"

namespace accordion {
namespace {

struct Options {
  PrepareOptions prepare;
  std::string split;
  bool json = false;
};

void print_summary(const nlohmann::json& made, const PrepareOptions& options, double seconds) {
  for (const auto& corpus : made["corpora"]) {
    for (const char* split : {"train", "validation"}) {
      const auto& part = corpus[split];
      std::printf("%-10s %9s documents  %15s tokens  longest %s\n", split,
                  format_thousands(part["documents"].get<int64_t>()).c_str(),
                  format_thousands(part["tokens"].get<int64_t>()).c_str(),
                  format_thousands(part["longest"].get<int64_t>()).c_str());
    }
  }
  std::printf("%s\n", made["end_of_text"].get_ref<const std::string&>().c_str());
  const double bytes = made["bytes"].get<double>();
  std::printf("%s of text, %.2f bytes a token, %.1f s (%.1f MB/s, %d workers) -> %s\n", format_bytes(bytes).c_str(),
              bytes / made["tokens"].get<double>(), seconds, bytes / 1e6 / seconds, options.workers,
              options.out.c_str());
  if (const auto damaged = made["damaged_utf8"].get<int64_t>(); damaged > 0)
    std::cerr << "note: " << format_thousands(damaged) << " places were not UTF-8 and became U+FFFD\n";
  if (const auto empty = made["empty_documents"].get<int64_t>(); empty > 0)
    std::cerr << "note: " << format_thousands(empty) << " empty documents were left out\n";
}

struct Stopped {};

void print_notices(const nlohmann::json& made) {
  for (const auto& notice : made["notices"]) std::cerr << "notice: " << notice.get_ref<const std::string&>() << "\n";
}

int run(Options& options) try {
  auto& prepare_options = options.prepare;
  if (!options.split.empty()) {
    const auto split = parse_count(options.split);
    if (!split || *split < 1)
      throw UserError("--split '" + options.split + "': want a number of tokens, as in --split 8192");
    prepare_options.split = *split;
  }
  catch_stop_signals();
  const auto start = std::chrono::steady_clock::now();
  std::optional<Progress> bar;
  auto made = prepare(prepare_options, [&](double bytes, double total, int64_t tokens) {
    if (stop_signal() != 0) throw Stopped();
    if (!bar) bar.emplace("prepare", total);
    bar->update(bytes, format_count(static_cast<double>(tokens)) + " tokens");
  });
  bar.reset();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print_notices(made);
  if (!options.json) {
    print_summary(made, prepare_options, seconds);
    return 0;
  }
  made["seconds"] = seconds;
  made["peak_rss_bytes"] = peak_resident_bytes();
  std::cout << json_text(made, 2) << "\n";
  return 0;
} catch (const Stopped&) {
  std::cerr << "stopped; nothing was written\n";
  return 128 + stop_signal();
}

}  // namespace

void add_prepare(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  auto& to = options->prepare;
  to.workers = usable_cores();
  auto* command = app.add_subcommand("prepare", "make a corpus (token ids, memory-mapped) of text");
  add_text_options(*command, to.inputs, to.text_field, to.glob, to.input_kind);
  command
      ->add_option("--tokenizer", to.tokenizer,
                   "bytes | a tokenizer.json | a sentencepiece .model | a folder that holds one")
      ->required();
  command->add_option("--eos", to.end_of_text,
                      "token that ends every document, or its id; default: as the tokenizer's files say");
  command->add_option("--out", to.out, "folder of the corpus; one that is there is replaced")->required();
  command->add_option("--validation", to.validation, "share of the documents held out for validation")
      ->check(CLI::Range(0.0, 0.999))
      ->capture_default_str();
  command->add_option("--split", options->split,
                      "two corpora, OUT/short of documents below this many tokens and OUT/long of the others");
  command->add_option("--workers", to.workers, "threads that encode; the result does not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--json", options->json, "print what was made as JSON");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace accordion
