#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <iostream>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>

#include "base/child.h"
#include "base/error.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/stop.h"
#include "base/text.h"
#include "bench/longest.h"
#include "bench/method.h"
#include "command/bench.h"
#include "command/overrides.h"
#include "memory/device.h"
#include "report/table.h"
#include "train/step.h"

namespace accordion {
namespace {

using nlohmann::json;

struct Options {
  std::string model, budget, activations, precision = "auto";
  std::string length;  ///< of a trial's rows; of all rows where their number is searched for; else empty
  std::string up_to;   ///< most tokens tried in a microbatch, so that a search ends in time; empty = any
  std::vector<std::string> methods{"none", "recompute", "mini_sequence", "all"}, overrides;
  int64_t accumulate = 1, rows = 1;
  bool json = false;
};

struct Stopped {
  int signal;
};

Recipe recipe_of(const Options& options, const std::vector<std::string>& overrides) {
  auto recipe = recipe_of_overrides(overrides, {"loss", "optimizer", "precision", "memory", "seed"},
                                    parse_precision(options.precision));
  recipe.model = options.model;
  recipe.batch.microbatch.count = options.rows;
  return recipe;
}

// ---- one trial, in a process of its own ----

bool out_of_memory(const std::exception& error) {
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         std::string(error.what()).find("out of memory") != std::string::npos;
}

/// What the hidden `bench trial` does: one step, its figures as JSON.
int run_trial(const Options& options) try {
  const auto memory = measure_step(recipe_of(options, options.overrides), parse_tokens(options.length, "--length"),
                                   options.rows * options.accumulate);
  std::cout << json{{"activations_rss_bytes", memory.activations_rss_bytes},
                    {"peak_rss_bytes", memory.peak_rss_bytes},
                    {"peak_bytes", memory.peak_bytes},
                    {"seconds", memory.seconds}};
  return 0;
} catch (const std::exception& error) {
  if (!out_of_memory(error)) throw;
  std::cout << json{{"out_of_memory", true}};
  return 0;
}

/// The figures of a trial; none where memory ran out.
std::optional<StepMemory> trial(const Options& options, const std::vector<std::string>& overrides, int64_t length,
                                int64_t rows) {
  std::vector<std::string> words{"bench",
                                 "trial",
                                 options.model,
                                 "--length",
                                 std::to_string(length),
                                 "--rows",
                                 std::to_string(rows),
                                 "--accumulate",
                                 std::to_string(options.accumulate),
                                 "--precision",
                                 options.precision,
                                 "--threads",
                                 std::to_string(at::get_num_threads()),
                                 "--device",
                                 device().str()};
  words.insert(words.end(), overrides.begin(), overrides.end());
  const auto end = run_this_program(words);
  if (stop_signal() != 0) throw Stopped{stop_signal()};
  if (end.signal == SIGKILL) return {};  // the kernel's way of saying so
  const std::string prefix = "error: ";
  if (end.exit_code == 2 && end.errors.starts_with(prefix))
    throw UserError(end.errors.substr(prefix.size(), end.errors.find('\n') - prefix.size()));
  if (end.signal != 0 || end.exit_code != 0)
    throw std::runtime_error(format("a trial of %lld x %lld tokens ended with %s %d: %s", static_cast<long long>(rows),
                                    static_cast<long long>(length), end.signal != 0 ? "signal" : "exit code",
                                    end.signal != 0 ? end.signal : end.exit_code, end.errors.c_str()));
  const auto found = json::parse(end.output);
  if (found.contains("out_of_memory")) return {};
  return StepMemory{.activations_rss_bytes = found.at("activations_rss_bytes"),
                    .peak_rss_bytes = found.at("peak_rss_bytes"),
                    .peak_bytes = found.at("peak_bytes"),
                    .seconds = found.at("seconds")};
}

// ---- the search of a method ----

/// Sizes are tokens of a row, or rows where the length is given.
struct Found {
  std::string method;
  int64_t planned = 0;
  std::optional<Trial> largest;
};

/// `bound` is the largest size to try.
Found search(const Options& options, const MemoryMethod& method, const MemoryBudget& budget, int64_t bound) {
  auto overrides = method.overrides;
  overrides.insert(overrides.end(), options.overrides.begin(), options.overrides.end());
  const auto recipe = recipe_of(options, overrides);
  const auto model = load_model_config(find_model(options.model));
  const bool bf16 = training_dtype(recipe.precision) == torch::kBFloat16;

  const bool by_rows = !options.length.empty();
  const int64_t length = by_rows ? parse_tokens(options.length, "--length") : 0;
  Found found{method.name,
              by_rows ? planned_rows(model, bf16, recipe.memory, budget, length)
                      : planned_row(model, bf16, recipe.memory, budget),
              {}};
  const char* name = method.name.c_str();
  if (budget.too_small_for(model, bf16)) {
    std::cerr << format("%s: weights, gradients and optimizer state alone do not fit\n", name);
    return found;
  }
  int64_t limit = bound;
  if (model.position == PositionKind::learned && !by_rows)
    limit = std::min(limit, model.max_positions / kLengthGrain * kLengthGrain);
  if (limit == 0)
    throw UserError(format("model %s: its table has %lld positions, fewer than the %lld of the shortest row tried",
                           options.model.c_str(), static_cast<long long>(model.max_positions),
                           static_cast<long long>(kLengthGrain)));
  const int64_t grain = by_rows ? 1 : kLengthGrain;
  found.largest = largest_tried(found.planned, limit, grain, budget.bytes, [&](int64_t size) {
    const auto memory = trial(options, overrides, by_rows ? length : size, by_rows ? size : 1);
    Trial tried{.size = size};
    if (memory) {
      tried.memory = *memory;
      tried.bytes = static_cast<double>(budget.activations ? memory->activations_rss_bytes : memory->peak_rss_bytes);
      tried.fits = tried.bytes <= budget.bytes;
    }
    std::cerr << format("%s: %s %s: %s, %s\n", name, format_thousands(size).c_str(), by_rows ? "rows" : "tokens",
                        memory ? format_bytes(tried.bytes).c_str() : "out of memory",
                        tried.fits ? "fits" : "does not fit");
    return tried;
  });
  return found;
}

// ---- the answer ----

double tokens_per_second(const Options& options, const Trial& trial) {
  const int64_t length = options.length.empty() ? 1 : parse_tokens(options.length, "--length");
  return static_cast<double>(options.accumulate * trial.size * length) / trial.memory.seconds;
}

json json_of(const Options& options, const std::vector<Found>& all) {
  auto list = json::array();
  const bool by_rows = !options.length.empty();
  for (const auto& [method, planned, largest] : all) {
    const int64_t size = largest ? largest->size : 0;
    json entry{{"method", method}, {"planned", planned}, {"longest", size}};
    if (by_rows) {
      entry["rows"] = size;
      entry["longest"] = size > 0 ? parse_tokens(options.length, "--length") : 0;
    }
    for (const auto* key :
         {"activations_rss_bytes", "peak_bytes", "peak_rss_bytes", "step_seconds", "tokens_per_second"})
      entry[key] = nullptr;
    if (largest) {
      entry["activations_rss_bytes"] = largest->memory.activations_rss_bytes;
      entry["peak_bytes"] = largest->memory.peak_bytes;
      entry["peak_rss_bytes"] = largest->memory.peak_rss_bytes;
      entry["step_seconds"] = largest->memory.seconds;
      entry["tokens_per_second"] = tokens_per_second(options, *largest);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

std::string table_of(const Options& options, const std::vector<Found>& all) {
  const auto bytes = [](int64_t count) { return format_bytes(static_cast<double>(count)); };
  Table table({"method", options.length.empty() ? "longest" : "rows", "planned", "activations", "peak RSS",
               "peak tensors", "s/step", "tok/s"});
  for (const auto& [method, planned, largest] : all) {
    if (!largest) {
      table.row({method, "0", format_thousands(planned), "-", "-", "-", "-", "-"});
      continue;
    }
    const auto& memory = largest->memory;
    table.row({method, format_thousands(largest->size), format_thousands(planned), bytes(memory.activations_rss_bytes),
               bytes(memory.peak_rss_bytes), bytes(memory.peak_bytes), format("%.2f", memory.seconds),
               format_count(tokens_per_second(options, *largest))});
  }
  return table.text();
}

MemoryBudget budget_of(const Options& options) {
  if (options.budget.empty() == options.activations.empty())
    throw UserError("bench memory: give either --budget or --activations, such as --budget 4GiB");
  const bool activations = options.budget.empty();
  const auto& text = activations ? options.activations : options.budget;
  const auto bytes = parse_bytes(text);
  if (!bytes || *bytes < 1)
    throw UserError(std::string(activations ? "--activations" : "--budget") + ": '" + text +
                    "' is not a size, such as 4GiB or 500MB");
  return {static_cast<double>(*bytes), activations};
}

/// A length, or a number of rows where the length is given.
int64_t bound_of(const Options& options) {
  if (options.up_to.empty()) return int64_t{1} << 40;
  const int64_t tokens = parse_tokens(options.up_to, "--up-to");
  const bool by_rows = !options.length.empty();
  const int64_t least = by_rows ? parse_tokens(options.length, "--length") : kLengthGrain;
  if (tokens < least)
    throw UserError(format("--up-to: %s is below %s, %lld tokens", options.up_to.c_str(),
                           by_rows ? "one row" : "the shortest row tried", static_cast<long long>(least)));
  return by_rows ? tokens / least : tokens / kLengthGrain * kLengthGrain;
}

std::vector<MemoryMethod> methods_of(const Options& options) {
  std::vector<MemoryMethod> chosen;
  std::vector<std::string> names;
  for (const auto& method : memory_methods()) names.push_back(method.name);
  for (const auto& name : options.methods) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) throw UserError("--methods: '" + name + "' is not a method" + suggestion(name, names));
    chosen.push_back(memory_methods()[static_cast<size_t>(at - names.begin())]);
  }
  return chosen;
}

int bench_memory(const Options& options) try {
  const auto budget = budget_of(options);
  const auto methods = methods_of(options);
  const int64_t bound = bound_of(options);
  if (device().is_cuda()) throw UserError("bench memory: measures memory of the processor (RSS); use --device cpu");
  catch_stop_signals();
  std::vector<Found> all;
  for (const auto& method : methods) all.push_back(search(options, method, budget, bound));
  std::cout << (options.json ? json_text(json_of(options, all), 2) + "\n" : table_of(options, all));
  return 0;
} catch (const Stopped& stopped) {
  return 128 + stopped.signal;
}

void add_shared(CLI::App& command, Options& options) {
  command.add_option("MODEL", options.model, "model directory, config.json or a name in models/")->required();
  command.add_option("--precision", options.precision, "auto | bf16 | f32")->capture_default_str();
  command.add_option("--accumulate", options.accumulate, "microbatches in the step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("key=value", options.overrides, "optimizer.*, memory.*, loss.*, precision, seed");
}

}  // namespace

void add_bench_memory(CLI::App& bench, int& exit_code) {
  const auto options = std::make_shared<Options>();
  auto* memory =
      bench.add_subcommand("memory", "longest row (or most rows) that trains within a budget, by method, each tried");
  add_shared(*memory, *options);
  memory->add_option("--budget", options->budget, "what the whole process may use (peak RSS), as in 4GiB");
  memory->add_option("--activations", options->activations,
                     "what a step may use beside weights, gradients and optimizer state (RSS), as in 1GiB");
  memory->add_option("--length", options->length,
                     "search the most rows of so many tokens that fit at once, instead of the longest row");
  memory->add_option("--up-to", options->up_to,
                     "most tokens to try at once (of a row, or of all rows with --length), where a step of more takes "
                     "too long");
  memory->add_option("--methods", options->methods, "none: all techniques off; recompute; mini_sequence; all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  memory->add_flag("--json", options->json, "print one JSON document");
  memory->callback([options, &exit_code] { exit_code = bench_memory(*options); });

  const auto one = std::make_shared<Options>();
  auto* single = bench.add_subcommand("trial", "one try of `bench memory`, as it starts them");
  single->group("");
  add_shared(*single, *one);
  single->add_option("--length", one->length, "tokens of a row")->required();
  single->add_option("--rows", one->rows, "rows of a microbatch");
  single->callback([one, &exit_code] { exit_code = run_trial(*one); });
}

}  // namespace accordion
