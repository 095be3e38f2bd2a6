#include "bench/op.h"

#include <algorithm>
#include <chrono>

#include "base/machine.h"
#include "bench/op_parts.h"
#include "memory/allocator.h"

namespace accordion::bench {
namespace {

constexpr double kLongRun = 2;      // seconds: a run that takes so long needs no other to warm it up
constexpr double kLongEnough = 10;  // seconds of a case, after which it is not repeated

struct Named {
  const char* name;
  std::vector<OpCase> (*cases)(const OpSizes&);
};
constexpr Named kOperators[] = {{"head", head_cases},
                                {"mlp", mlp_cases},
                                {"attention", attention_cases},
                                {"norm", norm_cases},
                                {"activation", activation_cases},
                                {"rotary", rotary_cases},
                                {"linear", linear_cases},
                                {"loss", loss_cases},
                                {"update", update_cases}};

double seconds_of(const std::function<void()>& run) {
  synchronize();
  const auto start = std::chrono::steady_clock::now();
  run();
  synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

const std::vector<std::string>& op_names() {
  static const auto names = [] {
    std::vector<std::string> all;
    for (const auto& one : kOperators) all.emplace_back(one.name);
    return all;
  }();
  return names;
}

std::vector<OpCase> op_cases(const std::string& op, const OpSizes& sizes) {
  const auto* found =
      std::find_if(std::begin(kOperators), std::end(kOperators), [&](const Named& one) { return one.name == op; });
  TORCH_CHECK(found != std::end(kOperators), "no operator ", op);
  auto cases = found->cases(sizes);
  for (auto& one : cases) one.op = op;
  return cases;
}

std::optional<OpTiming> time_op(const OpCase& one, int64_t repeats) {
  memory::release_kept();
  if (one.needs > as_double(available_memory())) return {};
  const auto run = one.set_up();
  const int64_t before = memory::current_bytes();
  memory::reset_peak();
  const double first = seconds_of(run);
  OpTiming timing{.seconds = first, .peak_bytes = memory::peak_bytes() - before};
  if (first > kLongRun) return timing;
  std::vector<double> seconds;
  for (double sum = 0; int64_t(seconds.size()) < repeats && sum < kLongEnough; sum += seconds.back())
    seconds.push_back(seconds_of(run));
  std::sort(seconds.begin(), seconds.end());
  timing.seconds = seconds[seconds.size() / 2];
  return timing;
}

}  // namespace accordion::bench
