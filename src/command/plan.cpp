#include "report/plan.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "command/command.h"
#include "memory/device.h"
#include "op/torch.h"
#include "schedule/resolve.h"

namespace accordion {

void add_plan(CLI::App& app, int& exit_code) {
  struct Options {
    std::string recipe, memory;
    std::vector<std::string> overrides;
    std::optional<double> bytes_per_parameter;
    bool json = false;
  };
  auto* command = app.add_subcommand("plan", "say what a run will do and cost, without opening its corpus");
  const auto options = std::make_shared<Options>();
  command->add_option("recipe", options->recipe, "recipe of the run (YAML)")->required();
  command->add_option("overrides", options->overrides, "key=value pairs that override the recipe");
  command->add_option(
      "--memory", options->memory,
      "what the longest row may use, as in 80GiB; default: the memory of this machine, or of the GPU of --device");
  command
      ->add_option("--bytes-per-parameter", options->bytes_per_parameter,
                   "count so many bytes for a parameter's weight, gradient and optimizer state in all instead of this "
                   "program's own, to compare with systems that keep them otherwise")
      ->check(CLI::Range(0.0, 64.0));
  command->add_flag("--json", options->json, "print one JSON document");
  command->callback([options, &exit_code] {
    const auto memory = parse_bytes(options->memory);
    if (!options->memory.empty() && !memory)
      throw UserError("--memory: '" + options->memory + "' is not a size, such as 80GiB or 24GB");
    const auto recipe = load_recipe(options->recipe, options->overrides);
    const auto plan = make_plan(recipe, load_model_config(find_model(recipe.model)), memory ? memory : device_memory(),
                                {.threads = at::get_num_threads(),
                                 .native_bf16 = device_native_bf16(),
                                 .bytes_per_parameter = options->bytes_per_parameter});
    std::fputs((options->json ? json_text(plan_json(plan), 2) + "\n" : plan_text(plan)).c_str(), stdout);
    exit_code = 0;
  });
}

}  // namespace accordion
