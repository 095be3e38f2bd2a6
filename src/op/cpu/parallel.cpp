#include "op/cpu/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

// libtorch's thread pool is its OpenMP runtime. at::parallel_for in a file of ours would need -fopenmp for this one,
// and for the precompiled header with it, or would run serially without a word; so we call the runtime the way
// compilers do. Both libgomp and LLVM's runtime export this entry point, and going to the library that libtorch has
// loaded keeps all on one pool: a second pool would fight over the cores with the first one's spinning threads.
extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
int omp_in_parallel();
}

namespace accordion::op::cpu {

namespace {

struct Parts {
  int64_t count, parts;
  const std::function<void(int64_t, int64_t)>* work;

  void part(int64_t index) const {
    const int64_t begin = count * index / parts, end = count * (index + 1) / parts;
    if (begin < end) (*work)(begin, end);
  }
};

struct Tasks {
  int64_t count;
  std::atomic<int64_t> next{0}, workers{0};
  const std::function<void(int64_t, int64_t)>* work;
};

}  // namespace

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  if (count <= 0) return;
  const int64_t parts = std::min<int64_t>(at::get_num_threads(), count / std::max<int64_t>(grain, 1));
  if (parts <= 1 || omp_in_parallel() != 0) return work(0, count);
  Parts all{count, parts, &work};
  GOMP_parallel(
      [](void* data) {
        const auto& job = *static_cast<const Parts*>(data);
        for (int64_t i = omp_get_thread_num(); i < job.parts; i += omp_get_num_threads()) job.part(i);
      },
      &all, unsigned(parts), 0);
}

int64_t parallel_workers(int64_t count) {
  return omp_in_parallel() != 0 ? 1 : std::clamp<int64_t>(count, 1, at::get_num_threads());
}

void parallel_tasks(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t threads = parallel_workers(count);
  Tasks all{count, {}, {}, &work};
  const auto body = [](void* data) {
    auto& job = *static_cast<Tasks*>(data);
    const int64_t worker = job.workers++;
    for (int64_t i = job.next++; i < job.count; i = job.next++) (*job.work)(i, worker);
  };
  if (threads == 1) return body(&all);
  GOMP_parallel(body, &all, unsigned(threads), 0);
}

}  // namespace accordion::op::cpu
