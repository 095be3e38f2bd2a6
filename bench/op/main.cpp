#include "bench.h"

namespace accordion::bench {
void add_operators();
void add_attention();
}  // namespace accordion::bench

int main(int count, char** arguments) {
  accordion::memory::tune_allocator();
  accordion::bench::add_operators();
  accordion::bench::add_attention();
  benchmark::Initialize(&count, arguments);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
