#pragma once

#include <cstdint>
#include <functional>

namespace accordion::op::cpu {

/// Calls `work(begin, end)` for parts that cover [0, count), each of at least `grain` (but for the last), on libtorch's
/// own threads and as many of them as at::get_num_threads() says. Serial inside of a parallel region.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& work);

/// Calls `work(i, worker)` for every i in [0, count); whichever worker is free takes the next one. For tasks of unequal
/// cost that write to places of their own. `worker` is below parallel_workers(count), and no two tasks of one worker
/// run at once: what a task needs room for is made beforehand, one for each worker. Made within tasks, the memory that
/// is in use at once would depend on how the threads come.
void parallel_tasks(int64_t count, const std::function<void(int64_t task, int64_t worker)>& work);
int64_t parallel_workers(int64_t count);

}  // namespace accordion::op::cpu
