#include "recipe/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "recipe/reader.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(Print, ReadsBackToTheSameValues) {
  const auto recipe = parse_recipe(R"(
model: "null"
run: 'a: b # c'
data: {train: [{path: a, weight: 0.1}, "off"], document_mask: true}
budget: {tokens: 123456789012, seconds: 0.30000000000000004}
batch: {sequences: 64, policy: constant_sequences, lr_scale: sqrt, microbatch: 3}
length_schedule:
  progress: tokens
  segments:
    - {ramp: table, table: [[0, 8], [1e6, 64]], until: 1e6, source: other}
    - {ramp: root, degree: 3, from: 64, to: 128, until: 3.5e6, step: 16, cycles: 2}
    - {length: 128}
optimizer: {lr: 1.2345678901234567e-7, betas: [0.9, 0.999]}
memory: {mini_sequence: {mlp: {count: 4}, head: off}}
evaluation: {every: {epochs: 0.5}, lengths: [8, 128]}
)",
                                   "r.yaml")
                          .recipe;
  const auto text = print_recipe(recipe);
  const auto again = parse_recipe(text, "printed").recipe;
  EXPECT_EQ(list_keys(again), list_keys(recipe)) << text;
  EXPECT_EQ(print_recipe(again), text);
}

TEST(Print, PathsAreAnyBytes) {
  Recipe recipe;
  for (const std::string path : {"/d/\xFF\xFE x", "a\nb", "sch\u00f6n: \xC3", "\xE9", "- \xF0\x9F"}) {
    recipe.run = path;
    recipe.data.train = {{.path = path}, {.path = path + "2"}};
    const auto text = print_recipe(recipe);
    EXPECT_EQ(parse_recipe(text, "printed").recipe.run, path) << text;
    EXPECT_EQ(list_keys(parse_recipe(text, "printed").recipe), list_keys(recipe)) << text;
  }
}

TEST(Print, DefaultsReadBackToo) {
  const auto text = print_recipe({});
  EXPECT_EQ(print_recipe(parse_recipe(text, "printed").recipe), text);
}

TEST(Print, NamesChangedKeys) {
  Recipe before, after;
  after.optimizer.lr = 2e-3;
  after.batch.sequences = 4;
  after.budget = {.steps = 10};
  std::vector<std::string> changes;
  for (const auto& change : changed_keys(before, after))
    changes.push_back(change.key + ": " + change.before + " -> " + change.after);
  EXPECT_THAT(changes, ElementsAre("budget.tokens: 20000000 -> ", "optimizer.lr: 0.001 -> 0.002",
                                   "budget.steps:  -> 10", "batch.sequences:  -> 4"));
  EXPECT_TRUE(changed_keys(before, before).empty());
}

TEST(Reference, CommittedFileIsCurrent) {
  const std::string path = ACCORDION_SOURCE_DIR "/docs/recipes.md";
  if (std::getenv("ACCORDION_UPDATE")) write_file(path, recipe_reference());
  EXPECT_EQ(read_file(path), recipe_reference()) << "run with ACCORDION_UPDATE=1 to write docs/recipes.md anew";
}

}  // namespace
}  // namespace accordion
