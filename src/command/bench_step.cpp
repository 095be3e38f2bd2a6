#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/machine.h"
#include "base/text.h"
#include "bench/step.h"
#include "command/bench.h"
#include "command/overrides.h"
#include "memory/device.h"
#include "report/table.h"

namespace accordion {
namespace {

struct StepOptions {
  std::string model, length = "1024", precision = "auto";
  int64_t rows = 1, steps = 5;
  std::vector<std::string> overrides;
  bool profile = false, json = false;
};

/// `{"phases": {"forward": {"peak": bytes, "weights": bytes, ...}, ...}}`: what was live at the peak of each phase.
nlohmann::ordered_json memory_json(const StepTiming& timing) {
  nlohmann::ordered_json phases;
  for (size_t phase = 0; phase < memory::kPhases; ++phase) {
    auto& json = phases[Names<memory::Phase>::value[phase]];
    json["peak"] = timing.phases[phase].total();
    for (size_t kind = 0; kind < memory::kKinds; ++kind)
      json[Names<memory::Kind>::value[kind]] = timing.phases[phase].bytes[kind];
  }
  return {{"phases", phases}};
}

/// The same for people.
std::string memory_table(const StepTiming& timing) {
  std::vector<std::string> header{"phase", "peak"};
  for (const auto& kind : all_names<memory::Kind>()) header.push_back(kind);
  Table table(header);
  for (size_t phase = 0; phase < memory::kPhases; ++phase) {
    const auto& holding = timing.phases[phase];
    std::vector<std::string> row{Names<memory::Phase>::value[phase],
                                 format_bytes(static_cast<double>(holding.total()))};
    for (const int64_t bytes : holding.bytes) row.push_back(format_bytes(static_cast<double>(bytes)));
    table.row(row);
  }
  return table.text();
}

/// `{"seconds", "busy", "waits", "operators": [{"name", "calls", "seconds"}]}`, the longest first.
nlohmann::ordered_json profile_json(const bench::Profile& profile) {
  auto operators = nlohmann::ordered_json::array();
  for (const auto& one : profile.operators)
    operators.push_back({{"name", one.name}, {"calls", one.calls}, {"seconds", one.seconds}});
  return {{"seconds", profile.seconds}, {"busy", profile.busy}, {"waits", profile.waits}, {"operators", operators}};
}

/// The same for people: the operators that take a thousandth of the step or more.
std::string profile_table(const bench::Profile& profile) {
  constexpr size_t kWidestName = 80;  // kernels have names of hundreds of letters
  Table table({"operator", "calls", "ms", "share"});
  for (const auto& one : profile.operators) {
    const double share = one.seconds / profile.seconds;
    if (share < 1e-3) break;
    table.row({one.name.substr(0, kWidestName), std::to_string(one.calls), format("%.2f", 1e3 * one.seconds),
               format("%.1f %%", 100 * share)});
  }
  return format("\nprofile of one more step: %.3f s, of which operators %.3f s; waits for the GPU: %lld\n",
                profile.seconds, profile.busy, static_cast<long long>(profile.waits)) +
         table.text();
}

int bench_step(const StepOptions& options) {
  const auto length = parse_tokens(options.length, "--length");
  auto recipe =
      recipe_of_overrides(options.overrides, {"batch.microbatch", "loss", "optimizer", "precision", "memory", "seed"},
                          parse_precision(options.precision));
  recipe.model = options.model;
  const auto timing = time_steps(recipe, length, options.rows, options.steps, options.profile);
  if (!recipe.memory.timeline.empty()) std::cerr << "wrote " << recipe.memory.timeline << "\n";
  const double tokens_per_second = static_cast<double>(timing.rows * timing.length) / timing.seconds_median;
  const double flops_per_second = timing.model_flops / timing.seconds_median;
  if (options.json) {
    nlohmann::ordered_json document = {
        {"model", options.model},
        {"parameters", timing.parameters},
        {"length", timing.length},
        {"rows", timing.rows},
        {"precision", timing.precision},
        {"threads", at::get_num_threads()},
        {"device", device().str()},
        {"step_seconds", {{"min", timing.seconds_min}, {"median", timing.seconds_median}}},
        {"tokens_per_second", tokens_per_second},
        {"model_flops_per_second", flops_per_second},
        {"peak_bytes", timing.peak_bytes},
        {"peak_rss_bytes", peak_resident_bytes()},
        {"memory", memory_json(timing)},
        {"loss", timing.loss}};
    if (timing.profile) document["profile"] = profile_json(*timing.profile);
    std::cout << json_text(document, 2) << "\n";
    return 0;
  }
  std::cout << format("%s | %s parameters | length %lld x %lld | %s | %d threads on %s\n", options.model.c_str(),
                      format_count(static_cast<double>(timing.parameters)).c_str(),
                      static_cast<long long>(timing.length), static_cast<long long>(timing.rows),
                      timing.precision.c_str(), at::get_num_threads(), device().str().c_str())
            << format(
                   "step %.3f s (median of %lld, best %.3f) | %s tok/s | %.1f model GFLOP/s | peak %s of tensors, %s "
                   "resident | loss %.4f\n",
                   timing.seconds_median, static_cast<long long>(options.steps), timing.seconds_min,
                   format_count(tokens_per_second).c_str(), flops_per_second / 1e9,
                   format_bytes(static_cast<double>(timing.peak_bytes)).c_str(),
                   format_bytes(static_cast<double>(peak_resident_bytes())).c_str(), timing.loss)
            << memory_table(timing) << (timing.profile ? profile_table(*timing.profile) : "");
  return 0;
}

}  // namespace

void add_bench_step(CLI::App& bench, int& exit_code) {
  auto options = std::make_shared<StepOptions>();
  auto* step = bench.add_subcommand("step", "time of one optimizer step: forward, backward, clip, update");
  step->add_option("MODEL", options->model, "model directory, config.json or a name in models/")->required();
  step->add_option("--length", options->length, "tokens of a row")->capture_default_str();
  step->add_option("--rows", options->rows, "rows of the step")->check(CLI::Range(1, 1 << 24))->capture_default_str();
  step->add_option("--precision", options->precision, "auto | bf16 | f32")->capture_default_str();
  step->add_option("--steps", options->steps, "steps to measure, after one that is not")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  step->add_flag("--profile", options->profile,
                 "time by operator of one more step: kernels on a GPU, operators' own time on a processor");
  step->add_flag("--json", options->json, "print one JSON document");
  step->add_option("key=value", options->overrides, "batch.microbatch, optimizer.*, memory.*, precision, seed");
  step->callback([options, &exit_code] { exit_code = bench_step(*options); });
}

}  // namespace accordion
