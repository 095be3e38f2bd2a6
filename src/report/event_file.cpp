#include "report/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "base/paths.h"
#include "base/text.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

constexpr auto kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}();

/// TFRecord's checksum: rotated and shifted, so that a checksum of data that holds checksums stays meaningful.
uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xA282EAD8U; }

template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// Protocol Buffers' wire format: a key of field number and wire type, then the value. Types: 0 varint, 1 eight bytes,
// 2 bytes with their length before them, 5 four bytes.
std::string key(uint64_t field, uint64_t type) { return varint(field << 3 | type); }
std::string integer_field(uint64_t field, int64_t value) {
  return key(field, 0) + varint(static_cast<uint64_t>(value));
}
std::string double_field(uint64_t field, double value) {
  return key(field, 1) + little_endian(std::bit_cast<uint64_t>(value));
}
std::string float_field(uint64_t field, float value) {
  return key(field, 5) + little_endian(std::bit_cast<uint32_t>(value));
}
std::string bytes_field(uint64_t field, std::string_view value) {
  return key(field, 2) + varint(value.size()) + std::string(value);
}

// Field numbers of tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
constexpr uint64_t kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5, kEventSessionLog = 7;
constexpr uint64_t kSummaryValue = 1, kValueTag = 1, kValueSimple = 2, kSessionLogStatus = 1;
constexpr int64_t kSessionStart = 1;

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string event(int64_t step) { return double_field(kEventWallTime, now()) + integer_field(kEventStep, step); }

/// TensorBoard reads the files of a folder by name, which begins with the second of its creation: a run that resumes
/// within the same second, or after the clock went back, takes the second behind the newest file's.
fs::path new_path(const fs::path& folder) {
  const std::string prefix = "events.out.tfevents.";
  auto second = static_cast<int64_t>(now());
  for (const auto& path : entries_of(folder)) {
    const auto name = path.filename().string();
    if (name.starts_with(prefix)) second = std::max<int64_t>(second, std::atoll(name.c_str() + prefix.size()) + 1);
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {'h', 'o', 's', 't'};
  return folder / (prefix + format("%010lld.%s.%d", static_cast<long long>(second), host.data(), ::getpid()));
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : data) crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const fs::path& folder, int64_t step) : file_(new_path(folder)) {
  record(double_field(kEventWallTime, now()) + bytes_field(kEventFileVersion, "brain.Event:2"));
  record(event(step) + bytes_field(kEventSessionLog, integer_field(kSessionLogStatus, kSessionStart)));
  file_.flush();
}

void EventFile::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [tag, value] : values) {
    if (std::isfinite(
            value))  // TensorBoard draws a gap where a point is missing, and stumbles over NaN in old versions
      summary += bytes_field(kSummaryValue,
                             bytes_field(kValueTag, tag) + float_field(kValueSimple, static_cast<float>(value)));
  }
  record(event(step) + bytes_field(kEventSummary, summary));
  file_.flush();
}

/// A TFRecord frame: length, its checksum, the bytes, their checksum.
void EventFile::record(const std::string& event) {
  const auto length = little_endian(static_cast<uint64_t>(event.size()));
  file_.write(length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event)));
}

}  // namespace accordion
