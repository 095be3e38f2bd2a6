#pragma once

#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data/loader.h"
#include "schedule/length.h"

namespace accordion {

/// The training rows of a run: a Loader for data.train and one for each corpus that a segment names, with the next
/// step's rows read ahead by a thread while the present step computes.
class Stream {
 public:
  explicit Stream(const Recipe& recipe);

  /// The rows of the step that `plan` describes; begins to read those of `following` where that is known.
  Batch next(const StepPlan& plan, const std::optional<StepPlan>& following);

  /// Where the stream stands after the rows last returned, whatever was read ahead.
  nlohmann::json cursors() const;
  void restore(const nlohmann::json& cursors);

  int64_t tokens() const { return main().loader.tokens(); }  ///< of one epoch of data.train
  int64_t vocabulary() const;                                ///< the largest of the corpora's
  void expect_ids_below(int64_t vocabulary);                 ///< see Loader
  nlohmann::json fingerprint() const;

 private:
  struct Source {
    Loader loader;
    nlohmann::json cursor;  // after the rows last returned
  };
  struct Ahead {
    StepPlan plan;
    std::future<Batch> rows;
  };
  const Source& main() const { return sources_.at(""); }
  Batch read(const StepPlan& plan);
  void discard_ahead();

  std::map<std::string, Source> sources_;  // by the segment's `source`; "" = data.train
  std::optional<Ahead> ahead_;
  int64_t eos_ = -1;  // for preserve_eos
};

}  // namespace accordion
