#include "memory/allocator.h"

#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <mutex>

#include "memory/meter.h"
#include "memory/timeline.h"

namespace accordion::memory {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallest = size_t{64} << 10;  // below this the C library is as fast and its pages stay anyway
constexpr size_t kSlack = size_t{64} << 20;

/// Stands in the 64 bytes before a tensor's data.
struct alignas(kAlignment) Header {
  size_t asked;  ///< bytes of the tensor
  size_t block;  ///< bytes of the block, this header included; 0 = the C library's
  Kind kind;     ///< what it counts as until it is freed
};
static_assert(sizeof(Header) == kAlignment);

/// Blocks come in eight sizes for each power of two, so at most an eighth of one stays unused (and untouched, hence not
/// resident).
size_t block_size(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

class KeepingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &free_tensor, c10::Device(c10::DeviceType::CPU)};
    Header* header = bytes < kSmallest ? small(bytes) : large(bytes);
    header->asked = bytes;
    header->kind = meter().add(int64_t(bytes));
    timeline_event(int64_t(bytes));
    void* data = header + 1;
    return {data, data, &free_tensor, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &free_tensor; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

  void release() {
    const std::lock_guard lock(mutex);
    while (!kept.empty()) release_oldest();
  }

  size_t kept_bytes() {
    const std::lock_guard lock(mutex);
    return bytes_kept;
  }

 private:
  static void free_tensor(void* data);

  static Header* small(size_t bytes) {
    void* memory = nullptr;
    TORCH_CHECK_WITH(OutOfMemoryError, posix_memalign(&memory, kAlignment, bytes + sizeof(Header)) == 0,
                     "out of memory: a tensor of ", bytes, " bytes");
    auto* header = static_cast<Header*>(memory);
    header->block = 0;
    return header;
  }

  Header* large(size_t bytes) {
    const size_t block = block_size(bytes + sizeof(Header));
    {
      const std::lock_guard lock(mutex);
      // The next size up will do as well: stretched sequences ask for slightly more at each step.
      const auto found = by_size.lower_bound(block);
      if (found != by_size.end() && found->first <= block + block / 4) {
        Header* header = *found->second;
        kept.erase(found->second);
        by_size.erase(found);
        bytes_kept -= header->block;
        bytes_live += header->block;
        return header;
      }
      bytes_live += block;
      high_water = std::max(high_water, bytes_live);
      while (!kept.empty() && bytes_live + bytes_kept > high_water + kSlack) release_oldest();
    }
    return map(block);
  }

  static Header* map(size_t block) {
    const size_t alignment = block >= 2 * kHugePage ? kHugePage : size_t{4096};
    void* memory = nullptr;
    if (alignment == kHugePage) {
      // Reserve one huge page more than needed, then give the ends back.
      const size_t room = block + kHugePage;
      memory = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      TORCH_CHECK_WITH(OutOfMemoryError, memory != MAP_FAILED, "out of memory: a tensor of ", block, " bytes");
      const auto begin = reinterpret_cast<uintptr_t>(memory), aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
      const uintptr_t end = (aligned + block + 4095) / 4096 * 4096;
      if (aligned > begin) munmap(memory, aligned - begin);
      if (begin + room > end) munmap(reinterpret_cast<void*>(end), begin + room - end);
      memory = reinterpret_cast<void*>(aligned);
      madvise(memory, block, MADV_HUGEPAGE);
    } else {
      memory = mmap(nullptr, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      TORCH_CHECK_WITH(OutOfMemoryError, memory != MAP_FAILED, "out of memory: a tensor of ", block, " bytes");
    }
    auto* header = static_cast<Header*>(memory);
    header->block = block;
    return header;
  }

  void keep(Header* header) {
    const std::lock_guard lock(mutex);
    bytes_live -= header->block;
    bytes_kept += header->block;
    kept.push_front(header);
    by_size.emplace(header->block, kept.begin());
    while (!kept.empty() && bytes_live + bytes_kept > high_water + kSlack) release_oldest();
  }

  void release_oldest() {
    Header* header = kept.back();
    const auto last = std::prev(kept.end());
    for (auto [at, end] = by_size.equal_range(header->block); at != end; ++at) {
      if (at->second == last) {
        by_size.erase(at);
        break;
      }
    }
    kept.pop_back();
    bytes_kept -= header->block;
    munmap(header, (header->block + 4095) / 4096 * 4096);
  }

  std::mutex mutex;
  std::list<Header*> kept;  ///< freed blocks, the newest first
  std::multimap<size_t, std::list<Header*>::iterator> by_size;
  size_t bytes_live = 0, bytes_kept = 0, high_water = 0;  ///< of large blocks
};

/// Never destroyed: tensors in static storage may outlive any order of destruction.
KeepingAllocator& allocator() {
  static auto* const only = new KeepingAllocator;
  return *only;
}

void KeepingAllocator::free_tensor(void* data) {
  if (data == nullptr) return;
  Header* header = static_cast<Header*>(data) - 1;
  const auto bytes = int64_t(header->asked);
  meter().remove(header->kind, bytes);
  timeline_event(bytes);
  if (header->block == 0) {
    std::free(header);
  } else {
    allocator().keep(header);
  }
}

}  // namespace

void tune_allocator() {
  c10::SetCPUAllocator(&allocator(), /*priority=*/100);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  mallopt(M_TOP_PAD, 16 << 20);
}

int64_t current_bytes() { return meter().current.load(); }
int64_t peak_bytes() { return meter().peak.load(); }
void reset_peak() { meter().peak.store(meter().current.load()); }
int64_t kept_bytes() { return int64_t(allocator().kept_bytes()); }
void release_kept() { allocator().release(); }

}  // namespace accordion::memory
