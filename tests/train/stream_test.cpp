#include "train/stream.h"

#include <gtest/gtest.h>

#include "data/corpora.h"

namespace accordion {
namespace {

/// Rows are read ahead by what the next step is thought to be; where it turns out another, none is lost or doubled.
TEST(Stream, WhatWasReadAheadInVainIsReadAgain) {
  const TemporaryFolder folder;
  Recipe recipe;
  Source source;
  source.path = write_corpus(folder / "corpus", counting_documents({50, 70, 30, 150}));
  recipe.data.train = {source};
  recipe.data.shuffle = false;
  const auto plan = [](int64_t length) { return StepPlan{.length = length, .rows = 2, .read_length = length}; };
  Stream stream(recipe);
  std::vector<int64_t> read;
  for (const auto& [length, thought] : {std::pair<int64_t, int64_t>{8, 8}, {8, 16}, {4, 4}, {4, 32}, {9, 0}, {5, 5}}) {
    const auto batch = stream.next(plan(length), thought > 0 ? std::optional(plan(thought)) : std::nullopt);
    read.insert(read.end(), batch.inputs.begin(), batch.inputs.end());
    EXPECT_EQ(stream.cursors()[""]["read"], read.size());
  }
  for (size_t i = 0; i < read.size(); ++i) EXPECT_EQ(read[i], static_cast<int64_t>(i));
}

}  // namespace
}  // namespace accordion
