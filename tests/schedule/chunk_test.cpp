#include "schedule/chunk.h"

#include <gtest/gtest.h>

namespace accordion {
namespace {

using Kind = MiniSequence::Kind;

TEST(Chunk, IsWhatTheRecipeSays) {
  for (const int64_t tokens : {1, 9, 10, 11, 4096}) {
    EXPECT_EQ(layer_chunk({Kind::off, 0}, 512, tokens), 0);
    EXPECT_EQ(layer_chunk({Kind::tokens, 7}, 512, tokens), 7);
    EXPECT_EQ(layer_chunk({Kind::automatic, 0}, 512, tokens), 2048);
    EXPECT_EQ(head_chunk({Kind::automatic, 0}, 50'304, tokens), 1024);
    for (const int64_t count : {1, 2, 3, 10}) {  // no more chunks than asked for, and none much smaller than the others
      const int64_t chunk = head_chunk({Kind::count, count}, 50'304, tokens);
      EXPECT_LE((tokens + chunk - 1) / chunk, count) << tokens;
      EXPECT_LT(chunk * count - tokens, count) << tokens;
    }
  }
}

TEST(Chunk, AutomaticOnesKeepTheirBounds) {
  EXPECT_EQ(automatic_head_chunk(1), 4096);
  EXPECT_EQ(automatic_head_chunk(1 << 26), 256);
  EXPECT_EQ(automatic_layer_chunk(1024), 2048);
  EXPECT_EQ(automatic_layer_chunk(1025), 2304);
}

}  // namespace
}  // namespace accordion
