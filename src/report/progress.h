#pragma once

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

namespace accordion {

/// Where Progress and RunLog draw. By default a bar is drawn where standard error is a terminal.
struct TerminalOptions {
  std::optional<bool> terminal;  ///< draw bars; default: whether `messages` is a terminal
  std::FILE* output = stdout;    ///< lines of the run
  std::FILE* messages = stderr;  ///< bars and warnings
};

/// Whether bars are to be drawn with these options.
bool draws_bars(const TerminalOptions& options);

/// The progress of long work: on a terminal a bar with the time left, redrawn in place at most ten times a second;
/// elsewhere a plain line every ten seconds. Goes to `options.messages`, so standard output stays a program's own.
class Progress {
 public:
  /// `total` in whatever unit update() counts in (bytes, tokens, steps); 0 where it is not known.
  Progress(std::string title, double total, TerminalOptions options = {});
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  ///< wipes the bar
  /// `detail` follows the percentage (`31.2k tok/s`, say). `seconds_left` replaces the estimate, which takes the rest
  /// of the work to go at the mean speed so far.
  void update(double done, const std::string& detail = "", std::optional<double> seconds_left = {});
  void hide();  ///< wipes the bar, so that lines can be printed
  void show();  ///< draws it again as it was

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(double done, const std::string& detail, std::optional<double> seconds_left) const;

  std::string title_;
  double total_;
  TerminalOptions options_;
  bool bars_;
  bool visible_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_;
  std::string current_;
};

}  // namespace accordion
