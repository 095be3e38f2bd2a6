#include "base/machine.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

namespace accordion {
namespace {

/// The kB behind `key` in a file of /proc, in bytes.
int64_t kernel_bytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::stoll(line.substr(key.size())) * 1024;
  return 0;
}

int quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::stod(quota) / period));
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int affine = sched_getaffinity(0, sizeof set, &set) == 0
                         ? CPU_COUNT(&set)
                         : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, std::min(affine, quota_cores()));
}

bool native_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

std::string instruction_set() {
#if defined(__x86_64__)
  if (native_bf16()) return "avx512_bf16";
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) return "avx512";
  if (__builtin_cpu_supports("avx2")) return "avx2";
#endif
  return "default";
}

int64_t usable_memory() {
  struct sysinfo info = {};
  sysinfo(&info);
  auto bytes = static_cast<int64_t>(info.totalram) * info.mem_unit;
  std::ifstream file("/sys/fs/cgroup/memory.max");  // a number, or `max`
  if (int64_t limit = 0; file >> limit) bytes = std::min(bytes, limit);
  return bytes;
}

int64_t available_memory() {
  int64_t bytes = std::min(kernel_bytes("/proc/meminfo", "MemAvailable:"), usable_memory());
  std::ifstream most("/sys/fs/cgroup/memory.max"), used("/sys/fs/cgroup/memory.current");
  if (int64_t limit = 0, now = 0; most >> limit && used >> now) bytes = std::min(bytes, limit - now);
  return bytes;
}

int64_t resident_bytes() { return kernel_bytes("/proc/self/status", "VmRSS:"); }

int64_t peak_resident_bytes() { return kernel_bytes("/proc/self/status", "VmHWM:"); }

ResidentPeak::ResidentPeak() {
  std::ofstream marks("/proc/self/clear_refs");
  if (marks << 5 << std::flush) return;  // proc(5): sets VmHWM back to the RSS of now
  sampler_ = std::thread([this] {
    while (!ends_) {
      sampled_ = std::max(sampled_.load(), resident_bytes());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
}

ResidentPeak::~ResidentPeak() {
  ends_ = true;
  if (sampler_.joinable()) sampler_.join();
}

int64_t ResidentPeak::bytes() const { return sampler_.joinable() ? sampled_.load() : peak_resident_bytes(); }

}  // namespace accordion
