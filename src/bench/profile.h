#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace accordion::bench {

/// What ran under one name: an operator of libtorch or of ours on a processor, a kernel or a copy on a GPU.
struct ProfiledOperator {
  std::string name;
  int64_t calls = 0;
  double seconds = 0;  ///< its own: without the operators that it calls
};

struct Profile {
  double seconds = 0;                       ///< by the clock, which the recording slows down
  double busy = 0;                          ///< sum of the operators' seconds; on a GPU the rest is waiting
  int64_t waits = 0;                        ///< times that the processor waited for the GPU
  std::vector<ProfiledOperator> operators;  ///< the longest first
};

/// Runs `work` once under libtorch's profiler. On a processor operators are counted on the thread that calls; what no
/// operator accounts for (a kernel of autograd's own, the loop around) is missing from `busy`. On a GPU (`on_gpu`)
/// kernels and copies are counted as the GPU ran them. `work` must end with synchronize().
Profile profile(const std::function<void()>& work, bool on_gpu);

}  // namespace accordion::bench
