#include "memory/device_meter.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <memory>
#include <mutex>
#include <unordered_map>

#include "memory/meter.h"
#include "memory/timeline.h"

namespace accordion::memory {
namespace {

/// libtorch's allocators report to whatever stands in the place of its profiler.
class Reporter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* block, int64_t bytes, size_t /*allocated*/, size_t /*reserved*/,
                         c10::Device device) override {
    if (device.is_cpu()) return;
    const std::lock_guard lock(mutex_);
    if (const auto found = blocks_.find(block); found != blocks_.end()) {
      meter().remove(found->second.kind, found->second.bytes);
      timeline_event(found->second.bytes);
      blocks_.erase(found);
    }
    if (bytes <= 0) return;
    blocks_.emplace(block, Block{bytes, meter().add(bytes)});
    timeline_event(bytes);
  }

  bool memoryProfilingEnabled() const override { return true; }

 private:
  struct Block {
    int64_t bytes;
    Kind kind;
  };
  std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
};

}  // namespace

void meter_devices() {
  static const bool once = [] {
    c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, std::make_shared<Reporter>());
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace accordion::memory
