#include "bench/profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>

namespace accordion::bench {
namespace {

using torch::autograd::profiler::KinetoEvent;

struct Span {
  uint64_t begin, end;
  const KinetoEvent* event;
  uint64_t inside = 0;  // nanoseconds of the spans that it holds
};

/// Operators of one thread by their own time. Spans nest or lie apart.
void count_own(std::vector<Span>& spans, std::map<std::string, ProfiledOperator>& operators) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  std::vector<Span*> open;
  for (auto& span : spans) {
    while (!open.empty() && open.back()->end <= span.begin) open.pop_back();
    if (!open.empty()) open.back()->inside += span.end - span.begin;
    open.push_back(&span);
  }
  for (const auto& span : spans) {
    auto& to = operators[span.event->name()];
    ++to.calls;
    to.seconds += static_cast<double>(span.end - span.begin - std::min(span.inside, span.end - span.begin)) * 1e-9;
  }
}

/// CUDA's calls that return only once the GPU is done. Copies to pageable memory end in one of them.
bool waits_for_gpu(const std::string& name) {
  return name == "cudaStreamSynchronize" || name == "cudaDeviceSynchronize" || name == "cudaEventSynchronize";
}

}  // namespace

Profile profile(const std::function<void()>& work, bool on_gpu) {
  namespace profiler = torch::autograd::profiler;
  using torch::profiler::impl::ActivityType;
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  std::set<ActivityType> activities{ActivityType::CPU};
  if (on_gpu) activities.insert(ActivityType::CUDA);
  ::setenv("KINETO_LOG_LEVEL", "99", /*overwrite=*/0);  // it would tell on standard error that it starts and stops
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities, {at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE});
  const auto start = std::chrono::steady_clock::now();
  work();
  Profile made;
  made.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto result = profiler::disableProfiler();

  std::map<std::string, ProfiledOperator> operators;
  std::map<uint64_t, std::vector<Span>> threads;
  for (const auto& event : result->events()) {
    if (event.deviceType() == c10::DeviceType::CUDA) {
      auto& to = operators[event.name()];
      ++to.calls;
      to.seconds += static_cast<double>(event.durationNs()) * 1e-9;
    } else if (waits_for_gpu(event.name())) {
      ++made.waits;
    } else if (!on_gpu) {
      threads[event.startThreadId()].push_back({event.startNs(), event.endNs(), &event});
    }
  }
  for (auto& [thread, spans] : threads) count_own(spans, operators);
  for (auto& [name, one] : operators) {
    one.name = name;
    made.busy += one.seconds;
    made.operators.push_back(std::move(one));
  }
  std::sort(made.operators.begin(), made.operators.end(),
            [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return made;
}

}  // namespace accordion::bench
