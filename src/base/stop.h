#pragma once

namespace accordion {

/// From now on SIGINT and SIGTERM ask the running work to stop at the next good place instead of ending the process; a
/// second signal ends it at once.
void catch_stop_signals();

/// The signal that asked to stop, or 0.
int stop_signal();

}  // namespace accordion
