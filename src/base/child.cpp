#include "base/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "base/stop.h"

namespace accordion {
namespace {

/// A pipe: what is written at one end is read at the other.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  }
  ~Pipe() {
    close(ends[0]);
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return ends[0]; }
  int writer() const { return ends[1]; }
  void close_writer() {
    if (ends[1] >= 0) close(ends[1]);
    ends[1] = -1;
  }
};

/// In the new process: becomes the program. Only what is safe between fork and exec of a process with threads.
[[noreturn]] void become(char* const* arguments, int output, int errors) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  [[maybe_unused]] const auto written = write(score, "1000", 4);  // it may not be allowed; then the kernel chooses
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execv("/proc/self/exe", arguments);
  _exit(127);
}

/// Appends what there is to read. False at the end.
bool read_some(int from, std::string& to) {
  std::array<char, 4096> buffer;
  const auto count = read(from, buffer.data(), buffer.size());
  if (count > 0) to.append(buffer.data(), static_cast<size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

}  // namespace

ChildEnd run_this_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"accordion"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  Pipe output, errors;
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) become(pointers.data(), output.writer(), errors.writer());
  output.close_writer();
  errors.close_writer();

  ChildEnd end;
  std::array<pollfd, 2> open{{{output.reader(), POLLIN, 0}, {errors.reader(), POLLIN, 0}}};
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    constexpr int kMilliseconds = 100;
    if (stop_signal() != 0) kill(child, SIGKILL);
    if (poll(open.data(), open.size(), kMilliseconds) <= 0) continue;
    if (open[0].revents != 0 && !read_some(open[0].fd, end.output)) open[0].fd = -1;  // poll passes over these
    if (open[1].revents != 0 && !read_some(open[1].fd, end.errors)) open[1].fd = -1;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    end.signal = WTERMSIG(status);
  } else {
    end.exit_code = WEXITSTATUS(status);
  }
  return end;
}

}  // namespace accordion
