#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/paths.h"
#include "base/text.h"
#include "data/tokenizer.h"
#include "data/tokenizer_files.h"
#include "memory/device.h"
#include "model/weights.h"
#include "recipe/print.h"
#include "recipe/reader.h"
#include "report/plan.h"
#include "schedule/resume.h"
#include "train/trainer.h"

/// How a Trainer comes to stand where its run left off: everything before the first step.
namespace fs = std::filesystem;

namespace accordion {
namespace {

ModelLocation location_of(const Recipe& recipe, const std::optional<Checkpoints::Found>& resumed) {
  return find_model(resumed ? resumed->folder.string() : recipe.model);
}

Transformer open_trainable(const Recipe& recipe, const ModelLocation& location,
                           const std::optional<Tokenizer>& tokenizer) {
  auto config = load_model_config(location);
  if (tokenizer) {  // a preset names those of another tokenizer
    const auto& tokens = tokenizer->special_tokens();
    const auto id = [](const std::optional<SpecialToken>& token) { return token ? token->id : -1; };
    take_tokens(config, id(tokens.begin), id(tokens.end), id(tokens.padding), location.weights.empty());
  }
  auto model = open_model(location, std::move(config), training_dtype(recipe.precision), device(), recipe.seed);
  model.reach(recipe.length_schedule.max_length.value());
  return model;
}

std::vector<int64_t> evaluation_lengths(const Recipe& recipe, const LengthSchedule& schedule) {
  return recipe.evaluation.lengths.empty() ? schedule.constant_lengths() : recipe.evaluation.lengths;
}

/// A corpus may be somebody else's `.bin` and `.idx`, without a tokenizer beside it.
std::optional<Tokenizer> tokenizer_of(const fs::path& corpus) {
  const bool there = is_folder(corpus) && (stands(corpus / "tokenizer.json") || stands(corpus / "tokenizer.model"));
  return there ? std::optional(Tokenizer::load(corpus)) : std::nullopt;
}

}  // namespace

Trainer::Trainer(const Recipe& recipe)
    : recipe_(recipe),
      checkpoints_(recipe.run, recipe.checkpoint.keep),
      resumed_(checkpoints_.newest([this](const std::string& text) { notes_.push_back(text); })),
      schedule_(recipe),
      learning_rate_(recipe, schedule_),
      stream_(recipe),
      tokenizer_(tokenizer_of(recipe.data.train.front().path)),
      generation_(read_generation_config(location_of(recipe, resumed_).directory)),
      model_(open_trainable(recipe, location_of(recipe, resumed_), tokenizer_)),
      training_step_(model_, recipe),
      validation_(recipe.data.validation, evaluation_lengths(recipe, schedule_), recipe.evaluation.tokens,
                  training_step_.form().pass),
      timeline_(recipe.memory.timeline, recipe.run + ", " + recipe.model) {
  check_model();
  stream_.expect_ids_below(model_.config().vocabulary);
  if (!validation_.note().empty()) notes_.push_back(validation_.note());
  if (resumed_) resume();
  log_ = std::make_unique<RunLog>(recipe_.run, TerminalOptions{},
                                  ResumePoint{counters_.steps > 0 ? counters_.steps : -1, lengths_left_});
  write_file(fs::path(recipe_.run) / "recipe.yaml", print_recipe(recipe_));
  for (const auto& text : notes_) log_->warning(text);
  greet();
}

/// What the model must be able to do for this corpus and schedule.
void Trainer::check_model() const {
  const auto& config = model_.config();
  if (config.vocabulary < stream_.vocabulary())
    throw UserError(format(
        "model %s: its vocabulary of %lld is smaller than the corpus's %lld; choose a model with a larger one, or "
        "prepare the corpus with the model's tokenizer",
        recipe_.model.c_str(), static_cast<long long>(config.vocabulary),
        static_cast<long long>(stream_.vocabulary())));
  check_positions(recipe_, config);
  validation_.check(config);
}

void Trainer::resume() try {
  const auto& state = resumed_->state;
  counters_ = state["counters"].get<Counters>();
  const auto saved = parse_recipe(bytes_of_utf8(state["recipe"].get<std::string>()),
                                  (resumed_->folder / "trainer/state.json").string())
                         .recipe;
  for (const auto& change : check_resume(saved, recipe_, counters_)) notes_.push_back("resuming with " + change);
  check_unchanged(state);
  flops_ = state["flops"];
  skipped_in_a_row_ = state["skipped_in_a_row"];
  evaluated_step_ = state["evaluated_step"];
  for (const int64_t length : validation_.lengths()) {
    const auto left = state.value("lengths_left", std::vector<int64_t>());
    if (std::find(left.begin(), left.end(), length) != left.end()) lengths_left_.push_back(length);
  }
  saved_step_ = counters_.steps;
  stream_.restore(state["cursors"]);
  training_step_.optimizer().set_updates(state["updates"]);
  training_step_.optimizer().restore(read_safetensors(resumed_->folder / "trainer" / "optimizer.safetensors"));
} catch (const nlohmann::json::exception&) {  // somebody's own changes: what we wrote is checked
  throw UserError(
      (resumed_->folder / "trainer/state.json").string() +
      ": not a state of this version; remove that checkpoint to go on from the one before, or start anew with "
      "--fresh");
}

/// What results depend on beside the recipe: the corpora must be the same ones, the machine should be.
void Trainer::check_unchanged(const nlohmann::json& state) {
  const auto corpora = stream_.fingerprint();
  for (const auto& [name, corpus] : state["corpora"].items()) {
    if (corpora.contains(name) && corpora[name] != corpus)
      throw UserError("data: the corpus " + (name.empty() ? "of data.train" : bytes_of_utf8(name)) +
                      " is not the one that this run began with; bring that one back, or start anew with --fresh");
  }
  if (state["threads"] != at::get_num_threads() || state["instruction_set"] != instruction_set())
    notes_.push_back(
        format("the run so far used %d threads and %s, now %d and %s: losses may differ in the last digits",
               state["threads"].get<int>(), state["instruction_set"].get<std::string>().c_str(), at::get_num_threads(),
               instruction_set().c_str()));
}

nlohmann::json Trainer::state() const {
  return {{"version", 1},
          {"program", ACCORDION_VERSION},
          {"recipe", as_utf8(print_recipe(recipe_))},
          {"counters", counters_},
          {"flops", flops_},
          {"skipped_in_a_row", skipped_in_a_row_},
          {"evaluated_step", evaluated_step_},
          {"lengths_left", lengths_left_},
          {"cursors", stream_.cursors()},
          {"corpora", stream_.fingerprint()},
          {"updates", training_step_.optimizer().updates()},
          {"threads", at::get_num_threads()},
          {"instruction_set", instruction_set()}};
}

/// What a person sees before the first step; totals for the time left.
void Trainer::greet() {
  const auto plan = make_plan(recipe_, model_.config(), device_memory(),
                              {.threads = at::get_num_threads(), .native_bf16 = device_native_bf16()});
  if (plan.run) {
    total_steps_ = plan.run->end.steps;
    total_flops_ = plan.run->flops.executed;
  }
  log_->print(plan_text(plan));
  log_->note(format("%s on %s, %d threads, %s", model_.dtype() == torch::kBFloat16 ? "bf16" : "f32",
                    device().str().c_str(), at::get_num_threads(), instruction_set().c_str()));
  if (resumed_) log_->note(format("resumed after step %lld", static_cast<long long>(counters_.steps)));
}

/// The model as a Hugging Face directory, with the corpus's tokenizer.
void Trainer::write_model(const fs::path& folder) const {
  save_model(model_, folder);
  write_file(folder / "generation_config.json",
             json_text(generation_config_json(model_.config(), generation_), 2) + "\n");
  if (!tokenizer_) return;
  tokenizer_->save(folder);
  if (model_.config().family == Family::qwen2) insist_on_tokenizer_class(folder);
}

}  // namespace accordion
