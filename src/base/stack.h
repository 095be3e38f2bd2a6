#pragma once

#include <string>

namespace accordion {

/// The functions on the way to where this thread's last exception was thrown, the innermost first, a line each; ""
/// where none was. For what main() says of an internal error. Exceptions are recorded as they are thrown, which takes
/// some microseconds each.
std::string stack_of_last_throw();

/// From now on a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) writes `internal error: ...` and the functions under
/// way to standard error before it ends the process by that signal. A mapped file that cannot be read any more (SIGBUS:
/// somebody cut it off, or its disk fails) is no crash: `error: FILE: ...`, exit 2.
void print_stack_of_crashes();

/// What a person should do about an internal error, without a newline.
extern const char* const kReport;

}  // namespace accordion
