#include "base/stop.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

namespace accordion {
namespace {

volatile std::sig_atomic_t received = 0;
volatile std::time_t received_at = 0;  // seconds of the monotonic clock

std::time_t seconds_now() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

[[noreturn]] void leave(int signal) { ::_exit(128 + signal); }

void remember(int signal) {
  received_at = seconds_now();
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

void leave_if_stopped() {
  constexpr std::time_t kPatience = 5;
  if (received != 0 && seconds_now() - received_at > kPatience) throw Stopped();
}

}  // namespace accordion
