#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "base/machine.h"
#include "base/stack.h"
#include "base/stop.h"
#include "base/streams.h"
#include "base/text.h"
#include "command/command.h"
#include "memory/allocator.h"
#include "memory/device.h"

namespace {

using namespace accordion;

constexpr void (*kCommands[])(CLI::App&, int&) = {add_prepare, add_tokenizer, add_plan,    add_train, add_eval,
                                                  add_score,   add_generate,  add_compare, add_bench};

std::string version() {
  return format("accordion %s, libtorch %s, %s, %d threads", ACCORDION_VERSION, TORCH_VERSION,
                instruction_set().c_str(), at::get_num_threads());
}

/// The words of a wrong command line, with the nearest subcommand or option where one is near.
std::string explain(const CLI::App& app, const CLI::ParseError& error, const std::string& first) {
  std::string message = error.what();
  std::vector<std::string> names;
  for (const auto* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
  if (app.get_subcommands().empty() && !first.empty() && first[0] != '-')
    return "'" + first + "' is not a command" + suggestion(first, names);
  for (char& c : message)
    if (c == '\n') c = ' ';
  return message + "; see accordion " +
         (app.get_subcommands().empty() ? "" : app.get_subcommands()[0]->get_name() + " ") + "--help";
}

int run(int argc, char** argv) {
  int exit_code = 0;
  CLI::App app("Accordion trains long-context language models for a fraction of the usual cost.");
  app.require_subcommand(1);
  app.fallthrough();
  // Options' functions run once the whole line is parsed, and before the command's own callback.
  app.add_option_function<int>(
         "--threads", [](int threads) { at::set_num_threads(threads); }, "threads to compute with")
      ->check(CLI::Range(1, 4096))
      ->default_str(std::to_string(usable_cores()));
  app.add_option_function<std::string>("--device", use_device, "cpu | cuda | cuda:INDEX")->default_str("cpu");
  app.set_version_flag("--version", version);
  app.footer("key=value overrides any key of a recipe. docs/recipes.md lists the keys.");
  for (auto* add : kCommands) add(app, exit_code);
  for (auto* sub : app.get_subcommands(nullptr))
    sub->footer("--threads N and --device cpu|cuda[:i] go with every command.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    throw UserError(explain(app, error, argc > 1 ? argv[1] : ""));
  }
  return exit_code;
}

/// A message as one line, whatever is in a name.
std::string one_line(std::string text) {
  for (size_t at = 0; (at = text.find_first_of("\n\r", at)) != std::string::npos; at += 2)
    text.replace(at, 1, text[at] == '\n' ? "\\n" : "\\r");
  return text;
}

/// What libtorch says of memory that ran out, without the state of the GPU and its own settings.
std::string what_was_wanted(const std::string& what) {
  return what.substr(0, std::min(what.find('\n'), what.find(". GPU ")));
}

}  // namespace

int main(int argc, char** argv) try {
  fill_closed_streams();
  print_stack_of_crashes();
  exit_on_stop_signals();
  memory::tune_allocator();
  at::set_num_threads(usable_cores());  // libtorch counts physical cores, not those this process may use
  const int exit_code = run(argc, argv);
  check_printed();
  return exit_code;
} catch (const UserError& error) {
  std::cerr << "error: " << one_line(error.what()) << "\n";
  return 2;
} catch (const std::filesystem::filesystem_error& error) {  // of a file that a person named
  std::cerr << "error: " << one_line(error.path1().string() + ": " + error.code().message()) << "\n";
  return 2;
} catch (const c10::OutOfMemoryError& error) {
  std::cerr << "error: " << what_was_wanted(error.what_without_backtrace())
            << "; take shorter rows or fold more of them (docs/methods.md), `accordion plan` says what fits\n";
  return 2;
} catch (const std::bad_alloc&) {
  std::cerr << "error: out of memory; `accordion plan` says what fits\n";
  return 2;
} catch (const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const auto stack = stack_of_last_throw();
  std::cerr << "internal error: " << (torch_error != nullptr ? torch_error->what_without_backtrace() : error.what())
            << "\n"
            << stack << kReport << "\n";
  return 1;
}
