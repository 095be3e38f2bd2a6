#include "base/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "base/error.h"

namespace accordion {

void fill_closed_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is given out, so it is this one.
    if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF && ::open("/dev/null", O_RDWR) < 0) return;
  }
}

void check_printed() {
  if (std::cout.flush() && std::ferror(stdout) == 0 && std::fflush(stdout) == 0) return;
  throw UserError("standard output: not everything could be written there; make room and run it again");
}

}  // namespace accordion
