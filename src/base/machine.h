#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace accordion {

/// Cores this process may use: its affinity mask, cut by a control group's quota.
int usable_cores();

/// Whether the processor multiplies bf16 natively (AVX-512 BF16 or AMX).
bool native_bf16();

/// `avx512_bf16`, `avx512`, `avx2` or `default`.
std::string instruction_set();

int64_t usable_memory();        ///< this machine's memory, cut by a control group's limit
int64_t available_memory();     ///< what of it is free, or can be made free without swapping
int64_t resident_bytes();       ///< RSS now
int64_t peak_resident_bytes();  ///< the largest RSS so far, or since the last ResidentPeak (VmHWM)

/// The largest RSS of this process from its construction on: the kernel's own mark, set back, so that nothing escapes
/// it; or, where the kernel does not let it be set back, samples that a thread takes every millisecond.
class ResidentPeak {
 public:
  ResidentPeak();
  ~ResidentPeak();
  ResidentPeak(const ResidentPeak&) = delete;
  ResidentPeak& operator=(const ResidentPeak&) = delete;

  int64_t bytes() const;

 private:
  std::atomic<bool> ends_ = false;
  std::atomic<int64_t> sampled_ = 0;
  std::thread sampler_;
};

}  // namespace accordion
