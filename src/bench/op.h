#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "op/torch.h"

/// The operators, each beside its plain version.
namespace accordion::bench {

/// Letters as in model/shapes.h.
struct OpSizes {
  int64_t width = 1024, inner = 3584, vocabulary = 32064;  // D F V
  std::vector<int64_t> lengths = {};                       // tokens; empty = those of each operator
  torch::ScalarType type = torch::kBFloat16;
};

/// One cell of a table: an operator by one of its ways, forward and backward.
struct OpCase {
  std::string op = {}, name = {}, way = {};  ///< norm, rms_norm, fused; the way that others are held against is `plain`
  int64_t length = 0;                        ///< tokens
  int64_t mini_sequences = 0;                ///< of the operators that are tables by them; 1 = plain
  double needs = 0;                          ///< about so many bytes of tensors at its highest, arguments included
  double bytes = 0;                          ///< that one run must move; 0 = not what bounds it
  double operations = 0;                     ///< floating-point operations of one run, recomputation left out; 0 = few
  /// Makes the arguments, outside of the clock; -> one run.
  std::function<std::function<void()>()> set_up = {};
};

struct OpTiming {
  double seconds = 0;      ///< the median
  int64_t peak_bytes = 0;  ///< the most that tensors took beside the arguments
};

const std::vector<std::string>& op_names();
std::vector<OpCase> op_cases(const std::string& op, const OpSizes& sizes);

/// Runs a case once to warm up and `repeats` times by the clock, or fewer times where that takes long (at the least the
/// first run alone). None where it needs more memory than is free.
std::optional<OpTiming> time_op(const OpCase& one, int64_t repeats);

}  // namespace accordion::bench
