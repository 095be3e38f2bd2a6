// How threads wait at the end of a parallel loop. OpenMP's runtime lets them spin: 300,000 rounds of libgomp are some
// milliseconds. On a machine with other work a thread then burns the time that the one it waits for needs, and a step
// takes many times as long. After a thousand rounds a thread sleeps instead: that costs the small steps of a quiet
// machine a few percent (docs/results.md, "On a machine with other work").
//
// The runtime reads its settings from the environment while it is loaded, before main(). So this runs earlier still,
// before any library's own start: it puts the setting into the environment and starts the program once more.

#include <alloca.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace {

/// What decides about spinning, of libgomp and of Intel's and LLVM's runtime: the person's own setting wins.
constexpr const char* kTheirs[] = {"GOMP_SPINCOUNT=", "OMP_WAIT_POLICY=", "KMP_BLOCKTIME="};
constexpr const char* kOurs[] = {"GOMP_SPINCOUNT=1000", "KMP_BLOCKTIME=0"};

void wait_shortly(int, char** arguments, char** environment) {
  size_t count = 0;
  for (; environment[count] != nullptr; ++count)
    for (const char* name : kTheirs)
      if (std::strncmp(environment[count], name, std::strlen(name)) == 0) return;
  // On the stack: nothing may be allocated this early.
  auto** wider = static_cast<const char**>(alloca((count + std::size(kOurs) + 1) * sizeof(const char*)));
  std::copy_n(environment, count, wider);
  *std::copy(std::begin(kOurs), std::end(kOurs), wider + count) = nullptr;
  ::execve("/proc/self/exe", arguments, const_cast<char**>(wider));  // where that cannot be, threads spin
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_all)(int, char**, char**) = wait_shortly;

}  // namespace
