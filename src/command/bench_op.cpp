#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "bench/op.h"
#include "command/bench.h"
#include "memory/device.h"
#include "report/table.h"
#include "train/step.h"

namespace accordion {
namespace {

using bench::OpCase;
using bench::OpTiming;
using nlohmann::json;

struct Options {
  std::string name, precision = "bf16";
  std::vector<std::string> lengths;
  int64_t width = bench::OpSizes{}.width, inner = bench::OpSizes{}.inner, vocabulary = bench::OpSizes{}.vocabulary;
  int64_t repeats = 5;
  bool json = false;
};

struct Result {
  OpCase one;
  std::optional<OpTiming> timing;  // none = it needs more memory than is free
  std::optional<OpTiming> plain;   // the plain version of the same
};

std::vector<Result> measure(const std::string& op, const bench::OpSizes& sizes, int64_t repeats) {
  std::vector<Result> results;
  std::map<std::pair<std::string, int64_t>, std::optional<OpTiming>> plain;
  for (auto& one : bench::op_cases(op, sizes)) {
    std::cerr << format("%s: %s, %s, %lld tokens\n", op.c_str(), one.name.c_str(), one.way.c_str(),
                        static_cast<long long>(one.length));
    const auto timing = bench::time_op(one, repeats);
    if (one.way == "plain") plain[{one.name, one.length}] = timing;
    one.set_up = {};  // what it holds is not needed any more
    results.push_back({std::move(one), timing, {}});
  }
  for (auto& result : results) result.plain = plain[{result.one.name, result.one.length}];
  return results;
}

/// a / b, or nothing where that says nothing.
std::optional<double> ratio(double a, double b) {
  if (a <= 0 || b <= 0) return {};
  return a / b;
}

json json_of(const Result& result) {
  const auto& [one, timing, plain] = result;
  json entry{{"op", one.op}, {"case", one.name}, {"way", one.way}, {"length", one.length}};
  if (one.mini_sequences > 0) entry["mini_sequences"] = one.mini_sequences;
  for (const auto* key : {"seconds", "peak_bytes", "bytes_per_second", "flops_per_second", "seconds_against_plain",
                          "bytes_against_plain"})
    entry[key] = nullptr;
  if (!timing) return entry;
  const auto put = [&](const char* key, const std::optional<double>& value) {
    if (value) entry[key] = *value;
  };
  entry["seconds"] = timing->seconds;
  entry["peak_bytes"] = timing->peak_bytes;
  put("bytes_per_second", ratio(one.bytes, timing->seconds));
  put("flops_per_second", ratio(one.operations, timing->seconds));
  if (plain) {
    put("seconds_against_plain", ratio(timing->seconds, plain->seconds));
    put("bytes_against_plain", ratio(static_cast<double>(timing->peak_bytes), static_cast<double>(plain->peak_bytes)));
  }
  return entry;
}

std::string bytes(const OpTiming& timing) { return format_bytes(static_cast<double>(timing.peak_bytes)); }

/// Lengths down, numbers of mini-sequences across.
std::string grid_of(const std::vector<Result>& results) {
  std::vector<std::string> header{"tokens"};
  for (const auto& result : results)
    if (result.one.length == results[0].one.length) header.push_back(result.one.way);
  Table table(header, 0);
  for (size_t i = 0; i < results.size(); i += header.size() - 1) {
    std::vector<std::string> cells{format_thousands(results[i].one.length)};
    for (size_t j = i; j < i + header.size() - 1; ++j) {
      const auto& timing = results[j].timing;
      cells.push_back(timing ? format("%.3f s  %10s", timing->seconds, bytes(*timing).c_str()) : "-");
    }
    table.row(cells);
  }
  return table.text();
}

std::string list_of(const std::vector<Result>& results) {
  const auto number = [](int digits, const std::optional<double>& value) {
    return value ? format("%.*f", digits, *value) : std::string("-");
  };
  Table table({"operator", "way", "tokens", "ms", "peak", "time / plain", "bytes / plain", "GB/s", "GFLOP/s"}, 2);
  for (const auto& [one, timing, plain] : results) {
    std::vector<std::string> cells{one.name, one.way, format_thousands(one.length)};
    if (!timing) {
      cells.resize(9, "-");
      table.row(cells);
      continue;
    }
    std::optional<double> time, space;
    if (plain) {
      time = ratio(timing->seconds, plain->seconds);
      space = ratio(static_cast<double>(timing->peak_bytes), static_cast<double>(plain->peak_bytes));
    }
    table.row({one.name, one.way, format_thousands(one.length), format("%.3f", timing->seconds * 1e3), bytes(*timing),
               number(2, time), number(2, space), number(1, ratio(one.bytes / 1e9, timing->seconds)),
               number(1, ratio(one.operations / 1e9, timing->seconds))});
  }
  return table.text();
}

int bench_op(const Options& options) {
  const auto& known = bench::op_names();
  if (!options.name.empty() && std::find(known.begin(), known.end(), options.name) == known.end())
    throw UserError("bench op: '" + options.name + "' is not an operator" + suggestion(options.name, known));
  bench::OpSizes sizes{.width = options.width, .inner = options.inner, .vocabulary = options.vocabulary};
  for (const auto& text : options.lengths) sizes.lengths.push_back(parse_tokens(text, "--lengths"));
  sizes.type = training_dtype(parse_precision(options.precision));
  auto entries = json::array();
  for (const auto& op : options.name.empty() ? known : std::vector<std::string>{options.name}) {
    const auto results = measure(op, sizes, options.repeats);
    for (const auto& result : results) entries.push_back(json_of(result));
    if (options.json) continue;
    const bool grid = results[0].one.mini_sequences > 0;
    std::cout << format("%s, %s, %d threads on %s%s\n", op.c_str(), sizes.type == torch::kBFloat16 ? "bf16" : "f32",
                        at::get_num_threads(), device().str().c_str(),
                        grid ? ": forward and backward, and peak bytes, by number of mini-sequences" : "")
              << (grid ? grid_of(results) : list_of(results)) << std::endl;
  }
  if (options.json)
    std::cout << json_text(json{{"precision", sizes.type == torch::kBFloat16 ? "bf16" : "f32"},
                                {"threads", at::get_num_threads()},
                                {"device", device().str()},
                                {"width", sizes.width},
                                {"inner", sizes.inner},
                                {"vocabulary", sizes.vocabulary},
                                {"operators", entries}},
                           2)
              << "\n";
  return 0;
}

}  // namespace

void add_bench_op(CLI::App& bench, int& exit_code) {
  const auto options = std::make_shared<Options>();
  auto* op = bench.add_subcommand("op", "operators: time and bytes, forward and backward, against the plain version");
  std::string names;
  for (const auto& name : bench::op_names()) names += (names.empty() ? "" : ", ") + name;
  op->add_option("NAME", options->name, names + "; default: all of them");
  op->add_option("--lengths", options->lengths, "tokens, with commas between; default: those of each operator")
      ->delimiter(',')
      ->allow_extra_args(false);
  const auto size = [&](const char* name, int64_t& value, const char* help) {
    op->add_option(name, value, help)->check(CLI::Range(1, 1 << 24))->capture_default_str();
  };
  size("--width", options->width, "residual width D");
  size("--inner", options->inner, "inner width of the MLP F");
  size("--vocabulary", options->vocabulary, "vocabulary V");
  size("--repeats", options->repeats, "runs to take the median of; long ones are repeated less");
  op->add_option("--precision", options->precision, "auto | bf16 | f32")->capture_default_str();
  op->add_flag("--json", options->json, "print one JSON document");
  op->callback([options, &exit_code] { exit_code = bench_op(*options); });
}

}  // namespace accordion
