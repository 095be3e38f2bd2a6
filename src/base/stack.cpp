#include "base/stack.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "base/symbols.h"

namespace accordion {
namespace {

constexpr int kDeepest = 48;  // functions

struct Stack {
  std::array<void*, kDeepest> addresses;
  int count = 0;
};
thread_local Stack last_throw;

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;  // nobody is left to be told
}

/// A line of /proc/self/maps is "BEGIN-END RIGHTS OFFSET DEVICE INODE   PATH"; -> the path where it holds the address.
const char* path_of(char* line, uintptr_t address) {
  char* end = nullptr;
  if (address < std::strtoull(line, &end, 16) || *end != '-' || address >= std::strtoull(end + 1, nullptr, 16))
    return nullptr;
  return std::strchr(line, '/');
}

/// Says which mapped file cannot be read any more, where that is why; -> whether it is.
bool is_lost_file(const siginfo_t& info) {
  if (info.si_signo != SIGBUS || info.si_code != BUS_ADRERR) return false;
  const int maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  std::array<char, 4096 + 256> line;  // a path and what stands before it
  size_t length = 0;
  for (char letter; maps >= 0 && ::read(maps, &letter, 1) == 1;) {
    if (letter != '\n') {
      if (length + 1 < line.size()) line[length++] = letter;
      continue;
    }
    line[length] = '\0';
    length = 0;
    const char* path = path_of(line.data(), reinterpret_cast<uintptr_t>(info.si_addr));
    if (path == nullptr) continue;
    say("error: ");
    say(path);
    say(": it became shorter while it was read, or its disk fails or is full; put it back and run the command again\n");
    return true;
  }
  return false;
}

/// Calls nothing that allocates: the crash may have come from there.
void on_crash(int signal, siginfo_t* info, void* /*context*/) {
  if (is_lost_file(*info)) ::_exit(2);
  std::array<void*, kDeepest> addresses;
  say("internal error: ");
  say(::sigdescr_np(signal));
  say("\n");
  ::backtrace_symbols_fd(addresses.data(), ::backtrace(addresses.data(), kDeepest), STDERR_FILENO);
  say(kReport);
  say("\n");
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

}  // namespace

const char* const kReport =
    "This is a fault of Accordion. Please report it: an issue in its repository with these lines, what `accordion "
    "--version` prints, the command and its recipe (CONTRIBUTING.md, \"Faults\").";

std::string stack_of_last_throw() {
  constexpr int kOurs = 1;  // record_throw below
  const auto stack = last_throw;
  std::string lines;
  // What is on the stack is where each function goes on, which may be behind its end.
  for (int i = kOurs; i < stack.count; ++i)
    lines += "  " + function_at(static_cast<const char*>(stack.addresses[size_t(i)]) - 1) + "\n";
  return lines;
}

void print_stack_of_crashes() {
  static std::array<char, 64 << 10> room;  // a stack of its own, for a stack that ran over
  stack_t alternative = {};
  alternative.ss_sp = room.data();
  alternative.ss_size = room.size();
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_SIGINFO;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigaction(signal, &action, nullptr);
  std::array<void*, 1> any;
  ::backtrace(any.data(), 1);  // loads what it needs now, not in the middle of a crash
}

}  // namespace accordion

#if !defined(__SANITIZE_ADDRESS__)  // which has a function of its own in this place
namespace accordion {

// Every `throw` calls this function of the C++ library's; the program's own comes before it. Named by its symbol, as
// headers of compilers disagree on its type.
[[noreturn]] void record_throw(void* exception, void* type, void (*destroy)(void*)) __asm__("__cxa_throw");

void record_throw(void* exception, void* type, void (*destroy)(void*)) {
  static const auto real = reinterpret_cast<void (*)(void*, void*, void (*)(void*))>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  last_throw.count = ::backtrace(last_throw.addresses.data(), kDeepest);
  real(exception, type, destroy);
  std::abort();
}

}  // namespace accordion
#endif
