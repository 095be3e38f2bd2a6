#include "base/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/files.h"
#include "base/paths.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

/// `process 12 on host`, as its holder wrote it; "" where it has not yet.
std::string holder_of(const fs::path& path) try {
  auto text = read_file(path);
  return text.substr(0, text.find('\n'));
} catch (const UserError&) {
  return "";  // it is gone, or not to be read: no more can be said
}

std::string this_process() {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return "process " + std::to_string(::getpid()) + (host[0] != '\0' ? " on " + std::string(host) : "");
}

}  // namespace

FileLock::FileLock(fs::path path, const std::string& what) : path_(std::move(path)) {
  // Between opening and locking the holder may end and remove the file: then the lock is on a file without a name.
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    do {
      descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) throw system_error(path_, "cannot write", errno);
    const bool free = take();
    if (free && (!holds_ || is_the_one_there())) break;
    ::close(std::exchange(descriptor_, -1));
    if (free) continue;
    const auto holder = holder_of(path_);
    throw UserError(path_.parent_path().string() + ": " + what + (holder.empty() ? "" : " (" + holder + ")") +
                    "; wait for its end, or name another folder");
  }
  if (descriptor_ < 0) throw UserError(path_.string() + ": cannot be locked; remove the file");
  const auto text = this_process() + "\n";
  // For people only: a full disk is no reason not to go on.
  [[maybe_unused]] const auto cut = ::ftruncate(descriptor_, 0);
  [[maybe_unused]] const auto written = ::write(descriptor_, text.data(), text.size());
}

FileLock::~FileLock() {
  // Before the lock goes: whoever comes next makes a file of their own. The folder may have got another name since.
  if (is_the_one_there()) {
    while (::unlink(path_.c_str()) != 0 && errno == EINTR) {
    }
  }
  ::close(descriptor_);
}

/// False where another process holds it.
bool FileLock::take() {
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno == EINTR) continue;
    holds_ = false;  // ENOLCK, ENOTSUP, ...: a file system without locks
    break;
  }
  return true;
}

bool FileLock::is_the_one_there() const {
  struct stat mine = {}, there = {};
  const auto retried = [](auto call) {
    int result = 0;
    while ((result = call()) != 0 && errno == EINTR) {
    }
    return result == 0;
  };
  return retried([&] { return ::fstat(descriptor_, &mine); }) &&
         retried([&] { return ::stat(path_.c_str(), &there); }) && mine.st_ino == there.st_ino &&
         mine.st_dev == there.st_dev;
}

}  // namespace accordion
