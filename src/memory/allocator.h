#pragma once

#include <cstdint>

namespace accordion::memory {

/// Puts libtorch's CPU tensors on an allocator of ours, once, before the first tensor is made. It does three things:
/// counts exactly the bytes of live tensors (by what they are for: memory/meter.h); keeps freed blocks by size so that
/// a step does not pay the kernel's page faults anew (they cost 40-60 % of a step otherwise); aligns every tensor to 64
/// bytes, large ones to huge pages. What is kept never makes live + kept bytes exceed the most that was ever live by
/// more than a small slack: the block that was unused for the longest goes back to the system first. Results do not
/// depend on it. Also tells the C library to keep freed memory, for the scratch of oneDNN and MKL, which it does not
/// see.
void tune_allocator();

/// Bytes of live CPU tensors as they were asked for; 0 before tune_allocator().
int64_t current_bytes();
/// The most that current_bytes() has been since reset_peak().
int64_t peak_bytes();
void reset_peak();

/// Bytes of freed blocks that are kept for the next request of their size.
int64_t kept_bytes();
/// Gives all of them back to the system.
void release_kept();

}  // namespace accordion::memory
