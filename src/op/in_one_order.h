#pragma once

#include <ATen/Context.h>

namespace accordion::op {

/// While this lives, CUDA operators that would add up in whatever order their threads come take one fixed order, so
/// that gradients are the same on every run and a run goes on bit by bit as if it had not been interrupted. Not for
/// whole passes: operators that have no such way throw.
class InOneOrder {
 public:
  InOneOrder()
      : before_(at::globalContext().deterministicAlgorithms()),
        only_warned_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  ~InOneOrder() { at::globalContext().setDeterministicAlgorithms(before_, only_warned_); }
  InOneOrder(const InOneOrder&) = delete;
  InOneOrder& operator=(const InOneOrder&) = delete;

 private:
  bool before_, only_warned_;
};

}  // namespace accordion::op
