#include "report/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "report/table.h"

namespace accordion {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr auto kPlain = std::chrono::seconds(10);
constexpr size_t kBarCells = 24;

/// `━━━━━━━━╸`: whole cells, a half one, and the rest in grey.
std::string bar(double share) {
  const auto halves = static_cast<size_t>(std::lround(share * 2 * kBarCells));
  std::string text = "\033[36m";
  for (size_t cell = 0; cell < halves / 2; ++cell) text += "━";
  if (halves % 2 != 0) text += "╸";
  text += "\033[90m";
  for (size_t cell = (halves + 1) / 2; cell < kBarCells; ++cell) text += "━";
  return text + "\033[0m";
}

size_t columns(std::FILE* stream) {
  winsize size = {};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

/// What fits into a line of the terminal: a longer one would wrap, and a wrapped one cannot be wiped.
std::string cut(const std::string& text, size_t width) {
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end)
    if ((text[end] & 0xC0) != 0x80 && seen++ == width) break;
  return text.substr(0, end);
}

}  // namespace

bool draws_bars(const TerminalOptions& options) {
  return options.terminal.value_or(::isatty(::fileno(options.messages)) != 0);
}

Progress::Progress(std::string title, double total, TerminalOptions options)
    : title_(std::move(title)), total_(total), options_(options), bars_(draws_bars(options)), drawn_(start_) {}

Progress::~Progress() { hide(); }

std::string Progress::line(double done, const std::string& detail, std::optional<double> seconds_left) const {
  const double share = total_ > 0 ? std::clamp(done / total_, 0.0, 1.0) : 0;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  if (!seconds_left && share > 0) seconds_left = elapsed * (1 - share) / share;
  std::string text;
  if (total_ > 0) text += format("%3.0f %%", std::floor(100 * share));
  if (!detail.empty()) text += (text.empty() ? "" : "  ") + detail;
  if (total_ > 0 && seconds_left && share < 1) text += "  " + format_duration(*seconds_left) + " left";
  if (!bars_) return title_ + ": " + text;
  const size_t width = columns(options_.messages) - 1;
  const size_t before = text_width(title_) + 1 + kBarCells + 1;
  if (total_ <= 0 || before + text_width(text) > width) return cut(title_ + " " + text, width);
  return title_ + " " + bar(share) + " " + text;
}

void Progress::update(double done, const std::string& detail, std::optional<double> seconds_left) {
  const auto now = Clock::now();
  const bool due =
      now - drawn_ >= (bars_ ? Clock::duration(kRedraw) : Clock::duration(kPlain)) || (bars_ && current_.empty());
  if (bars_ || due) current_ = line(done, detail, seconds_left);
  if (!due) return;
  drawn_ = now;
  if (bars_) {
    show();
  } else {
    std::fprintf(options_.messages, "%s\n", current_.c_str());
    std::fflush(options_.messages);
  }
}

void Progress::hide() {
  if (!visible_) return;
  std::fputs("\r\033[K", options_.messages);
  std::fflush(options_.messages);
  visible_ = false;
}

void Progress::show() {
  if (!bars_ || current_.empty()) return;
  std::fprintf(options_.messages, "\r%s\033[K", current_.c_str());
  std::fflush(options_.messages);
  visible_ = true;
}

}  // namespace accordion
