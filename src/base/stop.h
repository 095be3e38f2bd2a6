#pragma once

namespace accordion {

/// From now on SIGINT and SIGTERM end the process at once with exit code 128 + signal: for work that leaves nothing
/// half done.
void exit_on_stop_signals();

/// From now on they ask the running work to stop at the next good place instead; a second signal ends the process at
/// once.
void catch_stop_signals();

/// The signal that asked to stop, or 0.
int stop_signal();

}  // namespace accordion
