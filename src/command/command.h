#pragma once

namespace CLI {
class App;
}

/// The subcommands, one file each. add_X() adds the subcommand X with its options to `app`; when the command line names
/// it, its callback runs the command and stores the exit code.
namespace accordion {

void add_prepare(CLI::App& app, int& exit_code);
void add_tokenizer(CLI::App& app, int& exit_code);
void add_plan(CLI::App& app, int& exit_code);
void add_train(CLI::App& app, int& exit_code);
void add_eval(CLI::App& app, int& exit_code);
void add_score(CLI::App& app, int& exit_code);
void add_generate(CLI::App& app, int& exit_code);
void add_compare(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);

}  // namespace accordion
