#pragma once

#include <cstdint>
#include <string>

namespace accordion {

/// Cores this process may use: its affinity mask, cut by a control group's quota.
int usable_cores();

/// Whether the processor multiplies bf16 natively (AVX-512 BF16 or AMX).
bool native_bf16();

/// `avx512_bf16`, `avx512`, `avx2` or `default`.
std::string instruction_set();

int64_t usable_memory();        ///< this machine's memory, cut by a control group's limit
int64_t resident_bytes();       ///< the process's RSS now (VmRSS)
int64_t peak_resident_bytes();  ///< the largest RSS so far (VmHWM)

}  // namespace accordion
