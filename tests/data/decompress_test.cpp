#include "data/decompress.h"

#include <gmock/gmock.h>

#include <random>

#include "base/error.h"
#include "data/corpora.h"
#include "data/packed.h"

namespace accordion {
namespace {

using testing::HasSubstr;

/// A frame that zstd's decoders skip.
std::string skippable() { return std::string("\x50\x2A\x4D\x18\x03\0\0\0abc", 11); }

const std::pair<const char*, std::string (*)(const std::string&)> kPackers[] = {
    {"gzip", gzip}, {"zstd", zstd}, {"xz", xz}, {"bzip2", bzip2}};

class Decompress : public testing::Test {
 protected:
  std::string unpacked(const std::string& packed, size_t step = 100000) {
    write_file(folder / "x.any", packed);
    ByteStream stream(folder / "x.any");
    std::string all, part(step, '\0');
    while (const size_t got = stream.read(part.data(), step)) all.append(part, 0, got);
    EXPECT_EQ(stream.position(), packed.size());
    return all;
  }
  std::string refused(const std::string& packed) {
    try {
      unpacked(packed);
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("x.any: "));
      return error.what();
    }
    return "accepted";
  }
  static std::string random(size_t size) {
    std::mt19937 generator(1);
    std::string content;
    while (content.size() < size) content += std::to_string(generator()) + "\n";
    return content;
  }
  TemporaryFolder folder;
};

TEST_F(Decompress, ByTheFirstBytes) {
  const auto content = random(200000);
  EXPECT_EQ(unpacked(content), content);
  EXPECT_EQ(unpacked(""), "");
  EXPECT_EQ(unpacked("\x1f"), "\x1f");
  EXPECT_EQ(unpacked("BZh9 is a text"), "BZh9 is a text");
  for (const auto& [name, pack] : kPackers) {
    SCOPED_TRACE(name);
    EXPECT_EQ(unpacked(pack(content)), content);
    EXPECT_EQ(unpacked(pack(content), 7777), content);
    EXPECT_EQ(unpacked(pack("")), "");
    EXPECT_EQ(unpacked(pack("x")), "x");
  }
}

TEST_F(Decompress, ManyPartsAndLayers) {
  const auto content = random(150000);
  for (const auto& [name, pack] : kPackers) {
    SCOPED_TRACE(name);
    std::string parts;
    for (size_t at = 0; at < content.size(); at += 4999)
      parts += pack(content.substr(at, 4999)) + (at % 5 == 0 ? pack("") : "");
    EXPECT_EQ(unpacked(parts), content);
    EXPECT_EQ(unpacked(parts, 1000), content);
    for (const auto& [outer, pack_again] : kPackers) EXPECT_EQ(unpacked(pack_again(pack(content))), content) << outer;
  }
  EXPECT_EQ(unpacked(skippable() + zstd("a") + skippable() + skippable() + zstd("b") + skippable()), "ab");
  EXPECT_EQ(unpacked(gzip("a") + std::string(1000, '\0')), "a");  // a tape's padding
  EXPECT_EQ(unpacked(gzip("a") + std::string(3, '\0') + gzip("b")), "ab");
  EXPECT_EQ(unpacked(xz("a") + std::string(8, '\0') + xz("b") + std::string(4, '\0')), "ab");
}

TEST_F(Decompress, NamesWhatIsDamaged) {
  const auto content = random(150000);
  for (const auto& [name, pack] : kPackers) {
    SCOPED_TRACE(name);
    const auto packed = pack(content);
    for (const size_t size : {packed.size() - 1, packed.size() - 9, packed.size() / 2, size_t{20}, size_t{12}})
      EXPECT_THAT(refused(packed.substr(0, size)), HasSubstr("damaged or cut off")) << size;
    EXPECT_THAT(refused(packed + "garbage"),
                testing::AnyOf(HasSubstr("follows the compressed data"), HasSubstr("damaged")));
    EXPECT_THAT(refused(packed + packed.substr(0, 30)), HasSubstr("damaged or cut off"));
    auto flipped = packed;
    flipped[packed.size() / 2] ^= 0x10;
    EXPECT_THAT(refused(flipped), HasSubstr("damaged")) << name;
  }
  EXPECT_THAT(refused("\x1f\x8b"), HasSubstr("damaged"));
}

TEST_F(Decompress, NamesCompressionsThatAreNotRead) {
  for (const auto& [content, name] : {std::pair<std::string, std::string>{"\x04\x22\x4d\x18xxxx", "lz4"},
                                      {"LZIP\x01xxxx", "lzip"},
                                      {"\x1f\x9dxxxx", "(.Z)"}})
    EXPECT_THAT(refused(content), HasSubstr(name));
}

TEST_F(Decompress, LargeWindowsOfZstd) {
  // A frame of `zstd --ultra --long=31` whose content is not that long; the memory is asked for and not touched.
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  const auto content = random(150000);
  std::string packed(ZSTD_compressBound(content.size()), '\0');
  ZSTD_inBuffer in{content.data(), content.size(), 0};
  ZSTD_outBuffer out{packed.data(), packed.size(), 0};
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush);  // so that its size is not known at the start
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_end);
  ZSTD_freeCCtx(context);
  packed.resize(out.pos);
  ASSERT_EQ(static_cast<unsigned char>(packed[5]) >> 3, 28 - 10);
  for (const int log : {28, 29, 31}) {
    packed[5] = static_cast<char>((log - 10) << 3);
    EXPECT_EQ(unpacked(packed), content) << log;
  }
  packed[5] = static_cast<char>((33 - 10) << 3);
  EXPECT_THAT(refused(packed), HasSubstr("takes 8.0 GiB of memory to decompress"));
}

}  // namespace
}  // namespace accordion
