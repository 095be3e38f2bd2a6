#pragma once

#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <functional>
#include <string>

#include "memory/allocator.h"

namespace accordion::bench {

using torch::Tensor;

/// A case to time; `bytes` and `operations` of one run become rates, beside the bytes that it holds at its highest.
struct Case {
  double bytes = 0, operations = 0;
  std::function<void()> run;
};

/// Registers `name/way` for every type; `make` sets a case up outside of the clock.
inline void add(const std::string& name, const std::function<Case(torch::ScalarType)>& make) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    const std::string full = name + (type == torch::kFloat ? "/f32" : "/bf16");
    benchmark::RegisterBenchmark(full.c_str(),
                                 [make, type](benchmark::State& state) {
                                   const Case one = make(type);
                                   one.run();
                                   const int64_t before = memory::current_bytes();
                                   memory::reset_peak();
                                   for (auto _ : state) one.run();
                                   const auto times = benchmark::Counter::kIsIterationInvariantRate;
                                   if (one.bytes > 0) state.counters["bytes/s"] = {one.bytes, times};
                                   if (one.operations > 0) state.counters["flop/s"] = {one.operations, times};
                                   state.counters["peak_bytes"] = double(memory::peak_bytes() - before);
                                 })
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime()
        ->UseRealTime();
  }
}

inline Tensor random(at::IntArrayRef sizes, torch::ScalarType type, bool gradient = false) {
  return torch::randn(sizes).to(type).requires_grad_(gradient);
}

/// Forward, then backward from a gradient of ones.
inline std::function<void()> both(const std::function<Tensor()>& forward) {
  return [forward] {
    const Tensor y = forward();
    y.backward(torch::ones_like(y));
  };
}

}  // namespace accordion::bench
