#pragma once

#include <string>
#include <vector>

namespace accordion {

/// How a child process ended, and what it wrote.
struct ChildEnd {
  int exit_code = 0;
  int signal = 0;  ///< that ended it; then there is no exit code
  std::string output, errors;
};

/// Runs this very program once more with these arguments (without the program's name), waits for its end and collects
/// both of its outputs. It is the first that the kernel takes where memory runs out, and it goes when this process
/// goes. Ends it at once where stop_signal() says so. std::system_error where no process can be made.
ChildEnd run_this_program(const std::vector<std::string>& arguments);

}  // namespace accordion
