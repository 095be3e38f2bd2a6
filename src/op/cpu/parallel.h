#pragma once

#include <cstdint>
#include <functional>

namespace accordion::op::cpu {

/// Calls `work(begin, end)` for parts that cover [0, count), each of at least `grain` (but for the last), on libtorch's
/// own threads and as many of them as at::get_num_threads() says. Serial inside of a parallel region.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& work);

/// Calls `work(i)` for every i in [0, count); whichever thread is free takes the next one. For tasks of unequal cost
/// that write to places of their own.
void parallel_tasks(int64_t count, const std::function<void(int64_t task)>& work);

}  // namespace accordion::op::cpu
