#include "eval/loss_by_length.h"

#include <gtest/gtest.h>

#include "data/corpora.h"
#include "model/tiny_models.h"
#include "op/gradients.h"

namespace accordion {
namespace {

/// Documents of tokens below 61, the tiny models' vocabulary.
Documents some_documents() {
  Documents documents;
  for (const size_t length : {5, 1, 12, 3, 7, 30, 21}) {
    auto& document = documents.emplace_back(length);
    for (size_t i = 0; i < length; ++i) document[i] = static_cast<int32_t>((length * 17 + i * i * 7) % 61);
  }
  return documents;
}

TEST(TakeRows, PiecesAndPositionsAreThoseOfTheRows) {
  Batch batch;
  batch.rows = 3;
  batch.length = 6;
  for (int64_t i = 0; i < 18; ++i) {
    batch.inputs.push_back(i);
    batch.targets.push_back(i + 1);
  }
  batch.pieces = {{6}, {1, 5}, {2, 3, 1}};
  const auto model = tiny_model(kTinyModels[0]);
  const PassForm form{.document_mask = true, .restart_positions = true};
  const auto positions = torch::tensor({{0, 1, 2, 3, 4, 5}, {0, 0, 1, 2, 3, 4}, {0, 1, 0, 1, 2, 0}}, torch::kLong);
  for (int64_t first = 0; first < 3; ++first) {
    for (int64_t count = 1; first + count <= 3; ++count) {
      const auto rows = take_rows(batch, first, count, form, model);
      EXPECT_TRUE(torch::equal(rows.ids, torch::arange(18).view({3, 6}).narrow(0, first, count)));
      EXPECT_TRUE(torch::equal(rows.targets, rows.ids + 1));
      EXPECT_TRUE(torch::equal(rows.pass.positions, positions.narrow(0, first, count))) << first << " " << count;
      EXPECT_EQ(rows.pass.pieces, op::Pieces(batch.pieces.begin() + first, batch.pieces.begin() + first + count));
    }
  }
}

/// The loss at every length is the mean over the same targets, by the plain definition; logits are capped where the
/// model's are.
TEST(LossByLength, IsTheMeanOverTheSameTokens) {
  const TemporaryFolder folder;
  const auto documents = some_documents();
  const auto corpus = write_corpus(folder / "corpus", documents, 61);
  std::vector<int64_t> stream;
  for (const auto& document : documents) stream.insert(stream.end(), document.begin(), document.end());
  const auto ids = torch::tensor(stream, torch::kLong);
  for (const auto& tiny : kTinyModels) {
    const torch::NoGradGuard guard;
    const auto model = tiny_model(tiny);
    const LossByLength validation(corpus, {5, 16, 60}, 60, {});
    for (const int64_t length : {5, 16, 60}) {
      double sum = 0;
      for (int64_t at = 0; at < 60; at += length) {
        const int64_t size = std::min<int64_t>(length, 60 - at);
        auto logits = model.hidden(ids.narrow(0, at, size).unsqueeze(0)).squeeze(0).matmul(model.head_weight().t());
        if (const double cap = model.config().final_soft_cap; cap > 0) logits = (logits / cap).tanh() * cap;
        sum += at::cross_entropy_loss(logits, ids.narrow(0, at + 1, size), {}, at::Reduction::Sum).item<double>();
      }
      const auto found = validation.evaluate(model, length);
      ASSERT_TRUE(found);
      EXPECT_EQ(found->tokens, 60);
      EXPECT_NEAR(found->loss, sum / 60, 1e-5 * sum / 60) << tiny.name << " at " << length;
    }
  }
}

}  // namespace
}  // namespace accordion
