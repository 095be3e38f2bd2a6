#include "base/stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>

namespace accordion {
namespace {

constexpr int kDeepest = 48;          // functions
constexpr size_t kLongestName = 160;  // letters; templates have thousands

struct Stack {
  std::array<void*, kDeepest> addresses;
  int count = 0;
};
thread_local Stack last_throw;

std::string name_of(void* address) {
  Dl_info info = {};
  if (::dladdr(address, &info) == 0) return "?";
  if (info.dli_sname == nullptr) return std::string("? in ") + info.dli_fname;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> readable(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
  return std::string(status == 0 ? readable.get() : info.dli_sname).substr(0, kLongestName);
}

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;  // nobody is left to be told
}

/// Calls nothing that allocates: the crash may have come from there.
void on_crash(int signal) {
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
  std::string lines;
  for (int i = kOurs; i < last_throw.count; ++i) lines += "  " + name_of(last_throw.addresses[size_t(i)]) + "\n";
  return lines;
}

void print_stack_of_crashes() {
  static std::array<char, 64 << 10> room;  // a stack of its own, for a stack that ran over
  stack_t alternative = {};
  alternative.ss_sp = room.data();
  alternative.ss_size = room.size();
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
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
