#include "base/stop.h"

#include <unistd.h>

#include <csignal>

namespace accordion {
namespace {

volatile std::sig_atomic_t received = 0;

[[noreturn]] void leave(int signal) { ::_exit(128 + signal); }

void remember(int signal) {
  received = signal;
  exit_on_stop_signals();
}

void handle_with(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void exit_on_stop_signals() { handle_with(leave); }

void catch_stop_signals() { handle_with(remember); }

int stop_signal() { return received; }

}  // namespace accordion
