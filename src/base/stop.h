#pragma once

#include <exception>

namespace accordion {

/// From now on SIGINT and SIGTERM end the process at once with exit code 128 + signal: for work that leaves nothing
/// half done.
void exit_on_stop_signals();

/// From now on they ask the running work to stop at the next good place instead; a second signal ends the process at
/// once.
void catch_stop_signals();

/// The signal that asked to stop, or 0.
int stop_signal();

/// Ends work that is thrown away: a step that would take longer than whoever sent the signal waits.
struct Stopped : std::exception {
  const char* what() const noexcept override { return "stopped by a signal"; }
};

/// Throws Stopped where the signal came more than 5 seconds ago. Batch systems give 30 before they kill: what ends soon
/// is finished, and there is time to save.
void leave_if_stopped();

}  // namespace accordion
