#include "recipe/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

Recipe read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_recipe(text, "r.yaml", overrides).recipe;
}

/// The message of the UserError that reading gives.
std::string mistake(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_recipe(text, "r.yaml", overrides);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Reader, LeavesDefaultsAlone) {
  const auto recipe = read("");
  EXPECT_EQ(recipe.model, "models/pythia-70m.json");
  EXPECT_EQ(recipe.data.train.at(0).path, "corpus");
  EXPECT_EQ(recipe.budget.tokens, 20'000'000);
  EXPECT_EQ(recipe.optimizer.lr, 1e-3);
  EXPECT_EQ(recipe.evaluation.every.steps, 200);
  EXPECT_EQ(recipe.memory.mini_sequence.head.kind, MiniSequence::Kind::automatic);
}

TEST(Reader, ReadsEveryType) {
  const auto recipe = read(R"(
model: models/demo.json   # a comment
data: {train: [{path: a, weight: 2}, b], shuffle: false}
budget: {tokens: 20e6, seconds: 60}
batch: {tokens: 16k, microbatch: 4}
length_schedule:
  progress: steps
  segments:
    - {ramp: root, from: 64, to: 1k, until: 45000, degree: 3}
    - {ramp: table, table: [[0, 8], [10, 16]], until: end}
optimizer: {betas: [0.8, 0.99], clip: 2}
loss: {z_loss: 1e-4, label_smoothing: 0.1}
lr_schedule: {kind: linear, warmup: {steps: 7}}
precision: bf16
memory: {mini_sequence: {mlp: {count: 4}, head: 512}}
evaluation: {every: {tokens: 1e6}, lengths: 128}
)");
  ASSERT_EQ(recipe.data.train.size(), 2u);
  EXPECT_EQ(recipe.data.train[0].weight, 2);
  EXPECT_EQ(recipe.data.train[1].path, "b");
  EXPECT_EQ(recipe.data.train[1].weight, 1);
  EXPECT_FALSE(recipe.data.shuffle);
  EXPECT_EQ(recipe.budget.tokens, 20'000'000);
  EXPECT_EQ(recipe.budget.seconds, 60);
  EXPECT_EQ(recipe.batch.tokens, 16384);
  EXPECT_EQ(recipe.batch.microbatch.count, 4);
  const auto& segments = recipe.length_schedule.segments;
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].ramp, Ramp::root);
  EXPECT_EQ(segments[0].to, 1024);
  EXPECT_EQ(segments[0].until.at, 45000);
  EXPECT_EQ(segments[0].degree, 3);
  EXPECT_FALSE(segments[1].until.at);
  EXPECT_THAT(segments[1].table, ElementsAre(ElementsAre(0, 8), ElementsAre(10, 16)));
  EXPECT_THAT(recipe.optimizer.betas, ElementsAre(0.8, 0.99));
  EXPECT_EQ(recipe.loss.z_loss, 1e-4);
  EXPECT_EQ(recipe.loss.label_smoothing, 0.1);
  EXPECT_EQ(recipe.lr_schedule.warmup.steps, 7);
  EXPECT_EQ(recipe.precision, Precision::bf16);
  EXPECT_EQ(recipe.memory.mini_sequence.mlp.kind, MiniSequence::Kind::count);
  EXPECT_EQ(recipe.memory.mini_sequence.mlp.amount, 4);
  EXPECT_EQ(recipe.memory.mini_sequence.head.amount, 512);
  EXPECT_THAT(recipe.evaluation.lengths, ElementsAre(128));
}

TEST(Reader, UnitsOfAnAmountReplaceTheDefaultOnes) {
  EXPECT_FALSE(read("evaluation: {every: {tokens: 1e6}}").evaluation.every.steps);
  EXPECT_FALSE(read("budget: {steps: 10}").budget.tokens);
}

TEST(Reader, SaysWhereAndWhatToDo) {
  EXPECT_EQ(mistake("model: m\nlength_schedule:\n  max_length: 8\n  segmets: []\n"),
            "r.yaml:4:3: length_schedule.segmets: unknown key; did you mean 'segments'?");
  EXPECT_EQ(mistake("seed: 1\nbatch: {tokens: 8, tokens: 9}\n"),
            "r.yaml:2:20: batch.tokens: written twice; keep one of the two");
  EXPECT_EQ(mistake("seed: 1\nseed: 2\n"), "r.yaml:2:1: seed: written twice; keep one of the two");
  EXPECT_EQ(mistake("batch:\n  tokens: many\n"),
            "r.yaml:2:11: batch.tokens: must be a whole number such as 1024, 16k or 20e6, not 'many'");
  EXPECT_EQ(mistake("batch: {tokens: 0}"), "r.yaml:1:17: batch.tokens: must be at least 1, not 0");
  EXPECT_EQ(mistake("batch: {tokens: 1.5}"),
            "r.yaml:1:17: batch.tokens: must be a whole number such as 1024, 16k or 20e6, not '1.5'");
  EXPECT_EQ(mistake("optimizer: {betas: [0.9, 1.5]}"), "r.yaml:1:26: optimizer.betas.1: must be within 0..1, not 1.5");
  EXPECT_EQ(mistake("lr_schedule: {kind: cosin}"),
            "r.yaml:1:21: lr_schedule.kind: unknown value 'cosin'; did you mean 'cosine'?");
  EXPECT_EQ(mistake("data: {shuffle: yes}"), "r.yaml:1:17: data.shuffle: must be true or false, not 'yes'");
  EXPECT_EQ(mistake("budget: 20e6"), "r.yaml:1:9: budget: must be a section of keys such as {steps: ...}, not '20e6'");
  EXPECT_EQ(mistake("model: [a]"), "r.yaml:1:8: model: must be text, not a list");
  EXPECT_EQ(mistake("model:"), "r.yaml:1:1: model: must be text, not nothing");
  EXPECT_EQ(mistake("length_schedule: {gate: {metric: loss}}"),
            "r.yaml:1:25: length_schedule.gate: is not available yet; leave it out");
  EXPECT_EQ(mistake("length_schedule:\n  segments:\n    - {length: 8, untl: 1}\n"),
            "r.yaml:3:19: length_schedule.segments.0.untl: unknown key; did you mean 'until'?");
  EXPECT_THAT(mistake("memory: {mini_sequence: {mlp: {counts: 4}}}"),
              HasSubstr("must be off, auto, a number of tokens, or {count: M}"));
  EXPECT_THAT(mistake("optimizer: {lr: nan}"), HasSubstr("must be a number"));
}

TEST(Reader, RefusesWhatIsNoRecipe) {
  EXPECT_THAT(mistake("model: [a"), StartsWith("r.yaml:1:1: not valid YAML: "));
  EXPECT_EQ(mistake("- a"), "r.yaml: a recipe is a map of keys such as `model: ...`, not a list");
  EXPECT_THAT(mistake("seed: 1\n---\nseed: 2\n"), HasSubstr("several YAML documents"));
  EXPECT_THROW(read_recipe("/nonexistent/recipe.yaml"), UserError);
}

TEST(Override, ChangesAnyKey) {
  const auto recipe =
      read("budget: {tokens: 5}\nlength_schedule: {segments: [{length: 8, until: 0.5}, {length: 16}]}\n",
           {"length_schedule.segments.0.until=0.25", "optimizer.lr=3e-4", "budget={steps: 10}",
            "data.train=[x, {path: y, weight: 3}]", "lr_schedule.warmup.steps=5", "run=a=b"});
  EXPECT_EQ(recipe.length_schedule.segments[0].until.at, 0.25);
  EXPECT_EQ(recipe.optimizer.lr, 3e-4);
  EXPECT_EQ(recipe.budget.steps, 10);
  EXPECT_FALSE(recipe.budget.tokens);
  EXPECT_EQ(recipe.data.train.at(1).weight, 3);
  EXPECT_EQ(recipe.lr_schedule.warmup.steps, 5);
  EXPECT_EQ(recipe.run, "a=b");
  EXPECT_FALSE(read("batch: {tokens: 8}", {"batch.tokens=null"}).batch.tokens);
  EXPECT_EQ(read("", {"batch.tokens=8", "batch.tokens=9"}).batch.tokens, 9);
}

TEST(Override, SaysThatTheCommandLineIsWrong) {
  EXPECT_EQ(mistake("", {"length_schedule.max_lenth=9"}),
            "command line: length_schedule.max_lenth: unknown key; did you mean 'max_length'?");
  EXPECT_EQ(mistake("", {"optimiser.lr=1"}), "command line: optimiser: unknown key; did you mean 'optimizer'?");
  EXPECT_EQ(mistake("batch: {tokens: 8}", {"batch.tokens=-1"}),
            "command line: batch.tokens: must be at least 1, not -1");
  EXPECT_EQ(mistake("", {"lr"}), "command line: 'lr' is not key=value; write for example optimizer.lr=3e-4");
  EXPECT_EQ(mistake("", {"run=[a"}), "command line: run: the value is not valid YAML: end of sequence flow not found");
  EXPECT_EQ(mistake("length_schedule: {segments: [{length: 8}]}", {"length_schedule.segments.1.length=9"}),
            "command line: length_schedule.segments.1.length: the list has no element '1'; its elements are numbered "
            "from 0 to 0");
  EXPECT_EQ(mistake("model: m", {"model.name=9"}),
            "command line: model.name: 'm' stands where this key needs a section; override the whole of it");
  EXPECT_THAT(mistake("", {"batch..tokens=9"}), HasSubstr("a key has a name between its dots"));
  EXPECT_THAT(mistake("", {"batch.=9"}), HasSubstr("a key has a name between its dots"));
}

}  // namespace
}  // namespace accordion
