#include "data/decompress.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace fs = std::filesystem;
using namespace std::string_view_literals;

namespace accordion {
namespace {

constexpr size_t kPacked = size_t{128} << 10;  // compressed bytes at a time
constexpr int kMostLayers = 4;                 // of one compression within another

UserError damaged(const std::string& name) { return UserError(name + ": damaged or cut off; fetch the file again"); }
UserError no_memory(const std::string& name, double bytes) {
  return UserError(name + ": takes " + format_bytes(bytes) +
                   " of memory to decompress, and there is not that much; compress it again with a smaller window");
}

/// The compressed bytes of a decoder.
class Packed {
 public:
  Packed(ReadBytes read, std::string name) : read_(std::move(read)), name_(std::move(name)), bytes_(kPacked) {}

  const std::string& name() const { return name_; }
  /// What was read and not yet taken; holds `least` bytes where there are as many. Empty at the end.
  std::string_view look(size_t least = 1) {
    if (end_ - at_ < least) {
      std::copy(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), bytes_.begin() + static_cast<std::ptrdiff_t>(end_),
                bytes_.begin());
      end_ -= at_;
      at_ = 0;
      for (size_t got = 1; got > 0 && end_ < least; end_ += got)
        got = read_(bytes_.data() + end_, bytes_.size() - end_);
    }
    return {bytes_.data() + at_, end_ - at_};
  }
  void take(size_t bytes) { at_ += bytes; }

  /// Whether another part begins here, after one that has ended. Zeros between and at the end are padding, as for gzip
  /// itself and for Python.
  bool another_part(std::string_view magic) {
    for (auto bytes = look(); !bytes.empty() && bytes[0] == '\0'; bytes = look())
      take(std::min(bytes.find_first_not_of('\0'), bytes.size()));
    const auto bytes = look(magic.size());
    if (bytes.empty()) return false;
    if (!bytes.starts_with(magic))
      throw UserError(name_ + ": something that is not compressed follows the compressed data; fetch the file again");
    return true;
  }

 private:
  ReadBytes read_;
  std::string name_;
  std::vector<char> bytes_;
  size_t at_ = 0, end_ = 0;
};

constexpr std::string_view kGzip = "\x1f\x8b", kBzip2 = "BZh", kZstd = "\x28\xb5\x2f\xfd",
                           kXz = std::string_view(
                               "\xfd"
                               "7zXZ\0",
                               6);

class Gzip {
 public:
  explicit Gzip(Packed packed) : packed_(std::move(packed)) {
    if (::inflateInit2(&stream_, 15 + 16) != Z_OK) throw no_memory(packed_.name(), 1 << 16);
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
  ~Gzip() { ::inflateEnd(&stream_); }

  size_t read(char* out, size_t size) {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out == size) {
      if (between_ && !packed_.another_part(kGzip)) return 0;
      between_ = false;
      const auto bytes = packed_.look();
      if (bytes.empty()) throw damaged(packed_.name());
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream_.avail_in = static_cast<uInt>(bytes.size());
      const int code = ::inflate(&stream_, Z_NO_FLUSH);
      packed_.take(bytes.size() - stream_.avail_in);
      if (code == Z_STREAM_END) {
        between_ = true;
        ::inflateReset(&stream_);
      } else if (code != Z_OK) {
        throw damaged(packed_.name());
      }
    }
    return size - stream_.avail_out;
  }

 private:
  Packed packed_;
  z_stream stream_ = {};
  bool between_ = false;  // a part has ended
};

class Bzip2 {
 public:
  explicit Bzip2(Packed packed) : packed_(std::move(packed)) { begin(); }
  Bzip2(const Bzip2&) = delete;
  Bzip2& operator=(const Bzip2&) = delete;
  ~Bzip2() { ::BZ2_bzDecompressEnd(&stream_); }

  size_t read(char* out, size_t size) {
    stream_.next_out = out;
    stream_.avail_out = static_cast<unsigned>(size);
    while (stream_.avail_out == size) {
      if (between_) {
        if (!packed_.another_part(kBzip2)) return 0;
        ::BZ2_bzDecompressEnd(&stream_);
        begin();
        stream_.next_out = out;
        stream_.avail_out = static_cast<unsigned>(size);
      }
      between_ = false;
      const auto bytes = packed_.look();
      if (bytes.empty()) throw damaged(packed_.name());
      stream_.next_in = const_cast<char*>(bytes.data());
      stream_.avail_in = static_cast<unsigned>(bytes.size());
      const int code = ::BZ2_bzDecompress(&stream_);
      packed_.take(bytes.size() - stream_.avail_in);
      if (code == BZ_STREAM_END) {
        between_ = true;
      } else if (code == BZ_MEM_ERROR) {
        throw no_memory(packed_.name(), 4 << 20);
      } else if (code != BZ_OK) {
        throw damaged(packed_.name());
      }
    }
    return size - stream_.avail_out;
  }

 private:
  void begin() {
    stream_ = {};
    if (::BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) throw no_memory(packed_.name(), 4 << 20);
  }
  Packed packed_;
  bz_stream stream_ = {};
  bool between_ = false;
};

class Xz {
 public:
  explicit Xz(Packed packed) : packed_(std::move(packed)) {
    if (::lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK)
      throw no_memory(packed_.name(), 1 << 16);
  }
  Xz(const Xz&) = delete;
  Xz& operator=(const Xz&) = delete;
  ~Xz() { ::lzma_end(&stream_); }

  size_t read(char* out, size_t size) {
    stream_.next_out = reinterpret_cast<uint8_t*>(out);
    stream_.avail_out = size;
    while (stream_.avail_out == size && !ended_) {
      const auto bytes = packed_.look();
      stream_.next_in = reinterpret_cast<const uint8_t*>(bytes.data());
      stream_.avail_in = bytes.size();
      const auto code = ::lzma_code(&stream_, bytes.empty() ? LZMA_FINISH : LZMA_RUN);
      packed_.take(bytes.size() - stream_.avail_in);
      ended_ = code == LZMA_STREAM_END;
      if (code == LZMA_MEM_ERROR) throw no_memory(packed_.name(), static_cast<double>(::lzma_memusage(&stream_)));
      if (code != LZMA_OK && !ended_) throw damaged(packed_.name());
    }
    return size - stream_.avail_out;
  }

 private:
  Packed packed_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class Zstd {
 public:
  explicit Zstd(Packed packed) : packed_(std::move(packed)), stream_(ZSTD_createDStream()) {
    // `zstd --long=31` and `--ultra -22 --long` write windows up to 2 GiB; the library's own limit is 128 MiB.
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  ~Zstd() { ZSTD_freeDStream(stream_); }

  size_t read(char* out, size_t size) {
    ZSTD_outBuffer unpacked{out, size, 0};
    while (unpacked.pos == 0) {
      const auto bytes = packed_.look(state_ == 0 ? kHeader : 1);
      if (bytes.empty()) {
        if (state_ == 0) return 0;
        ZSTD_inBuffer nothing{nullptr, 0, 0};  // what did not fit into `out` before comes without more input
        state_ = checked(ZSTD_decompressStream(stream_, &unpacked, &nothing));
        if (unpacked.pos == 0 && state_ != 0) throw damaged(packed_.name());
        continue;
      }
      if (state_ == 0) window_ = window_of(bytes);
      ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
      state_ = checked(ZSTD_decompressStream(stream_, &unpacked, &in));
      packed_.take(in.pos);
    }
    return unpacked.pos;
  }

 private:
  static constexpr size_t kHeader = 6;  // bytes of a frame up to its window

  /// The window that a frame's header asks for, in bytes; 0 where it names none (RFC 8878, 3.1.1.1.2).
  static double window_of(std::string_view header) {
    if (header.size() < kHeader || !header.starts_with(kZstd) || (header[4] & 0x20)) return 0;
    const auto byte = static_cast<unsigned char>(header[5]);
    const double base = static_cast<double>(uint64_t{1} << (10 + (byte >> 3)));
    return base + base / 8 * (byte & 7);
  }
  size_t checked(size_t state) const {
    if (!ZSTD_isError(state)) return state;
    const auto code = ZSTD_getErrorCode(state);
    if (code == ZSTD_error_memory_allocation || code == ZSTD_error_frameParameter_windowTooLarge)
      throw no_memory(packed_.name(), window_);
    if (code == ZSTD_error_dictionary_wrong)
      throw UserError(packed_.name() +
                      ": was compressed with a dictionary; decompress it first: zstd -d -D DICTIONARY");
    throw damaged(packed_.name());
  }

  Packed packed_;
  ZSTD_DStream* stream_;
  size_t state_ = 0;  // 0 between frames
  double window_ = 0;
};

template <class Decoder>
ReadBytes decoded(Packed packed) {
  return [decoder = std::make_shared<Decoder>(std::move(packed))](char* out, size_t size) {
    return decoder->read(out, size);
  };
}

bool is_zstd(std::string_view bytes) {
  const bool skippable = bytes.size() >= 4 && (bytes[0] & 0xF0) == 0x50 && bytes.substr(1, 3) == "\x2a\x4d\x18";
  return skippable || bytes.starts_with(kZstd);
}

/// A text may begin with BZh too: what follows are the digits of pi, or of its root where nothing was compressed.
bool is_bzip2(std::string_view bytes) {
  return bytes.size() >= 10 && bytes.starts_with(kBzip2) && bytes[3] >= '1' && bytes[3] <= '9' &&
         (bytes.substr(4, 6) == "1AY&SY" || bytes.substr(4, 6) == "\x17\x72\x45\x38\x50\x90");
}

/// What is not read is named, so that nobody takes it for text.
void refuse_others(std::string_view bytes, const std::string& name) {
  constexpr std::pair<std::string_view, const char*> kOthers[] = {{"\x04\x22\x4d\x18"sv, "lz4"},
                                                                  {"LZIP\x01"sv, "lzip"},
                                                                  {"\x1f\x9d"sv, "compress (.Z)"},
                                                                  {"\x89LZO\0"sv, "lzop"},
                                                                  {"\xff\x06\0\0sNaPpY"sv, "snappy"}};
  for (const auto& [magic, what] : kOthers)
    if (bytes.starts_with(magic))
      throw UserError(name + ": is compressed with " + what +
                      ", which is not read; decompress it, or use gzip, zstd, xz or bzip2");
}

}  // namespace

struct ByteStream::File {
  std::FILE* file;
  std::string name;
  double read_bytes = 0;

  explicit File(const fs::path& path) : file(nullptr), name(path.string()) {
    check_has_end(path);
    file = std::fopen(path.c_str(), "rb");
    if (!file) throw UserError(name + ": cannot open; check that you may read it");
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { std::fclose(file); }

  size_t read(char* out, size_t size) {
    const size_t got = std::fread(out, 1, size, file);
    if (got == 0 && std::ferror(file)) throw UserError(name + ": cannot read; check the disk");
    read_bytes += static_cast<double>(got);
    return got;
  }
};

ByteStream::ByteStream(const fs::path& path) : file_(std::make_shared<File>(path)) {
  read_ = [file = file_](char* out, size_t size) { return file->read(out, size); };
  for (int layer = 0; layer <= kMostLayers; ++layer) {
    Packed packed(read_, file_->name);
    const auto start = packed.look(16);
    refuse_others(start, file_->name);
    if (start.starts_with(kGzip)) {
      read_ = decoded<Gzip>(std::move(packed));
    } else if (is_zstd(start)) {
      read_ = decoded<Zstd>(std::move(packed));
    } else if (start.starts_with(kXz)) {
      read_ = decoded<Xz>(std::move(packed));
    } else if (is_bzip2(start)) {
      read_ = decoded<Bzip2>(std::move(packed));
    } else {
      read_ = [rest = std::make_shared<Packed>(std::move(packed))](char* out, size_t size) {
        const auto bytes = rest->look();
        const size_t got = std::min(size, bytes.size());
        std::copy_n(bytes.data(), got, out);
        rest->take(got);
        return got;
      };
      return;
    }
  }
  throw UserError(file_->name + ": compressed more than " + std::to_string(kMostLayers) +
                  " times over; decompress it first");
}

ByteStream::~ByteStream() = default;

double ByteStream::position() const { return file_->read_bytes; }

}  // namespace accordion
