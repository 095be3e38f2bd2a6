#include "data/bpe.h"

#include <gmock/gmock.h>

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int32_t> ids_of(const Bpe& bpe, std::string_view word) {
  std::vector<int32_t> once, twice, text;
  WordCache cache, other;
  bpe.encode(word, cache, once);
  bpe.encode(word, cache, twice);  // from the cache, where it holds such words
  bpe.encode_text(word, other, text);
  EXPECT_EQ(twice, once);
  EXPECT_EQ(text, once);
  return once;
}

/// What has no token becomes the unknown one, each or a run of them at once, and nothing where there is none.
TEST(Bpe, UnknownCharacters) {
  const StringMap<int32_t> vocabulary{{"<unk>", 0}, {"a", 1}, {"b", 2}, {"ab", 3}};
  Bpe::Options options{.alphabet = Bpe::Alphabet::characters, .unknown = 0};
  for (const bool fuse : {false, true}) {
    options.fuse_unknown = fuse;
    Bpe bpe(vocabulary, options);
    ASSERT_TRUE(bpe.add_merge("a", "b", 0));
    EXPECT_THAT(ids_of(bpe, "xax"), ElementsAre(0, 1, 0)) << fuse;
    EXPECT_THAT(ids_of(bpe, "xabé"), ElementsAre(0, 3, 0)) << fuse;
    EXPECT_EQ(ids_of(bpe, "xéayzb"),
              (fuse ? std::vector<int32_t>{0, 1, 0, 2} : std::vector<int32_t>{0, 0, 1, 0, 0, 2}));
  }
  options.unknown = -1;
  EXPECT_THAT(ids_of(Bpe(vocabulary, options), "xax"), ElementsAre(1));
  EXPECT_THAT(ids_of(Bpe(vocabulary, options), "xy"), IsEmpty());
}

}  // namespace
}  // namespace accordion
