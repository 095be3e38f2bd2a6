#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include "op/torch.h"

namespace accordion::memory {

/// A stream of a device for copies that go on beside its computation.
class SideStream {
 public:
  explicit SideStream(torch::Device device);

  /// Copies between tensors of the device and of pinned host memory, once the device has done what it was given so far;
  /// the caller does not wait. -> the moment when it is done; both tensors must live until then.
  c10::Event copy(torch::Tensor to, const torch::Tensor& from);

  /// What the device is given from here on waits for the moment.
  void wait_for(const c10::Event& moment);

 private:
  c10::Stream computation() const;

  torch::Device device_;
  c10::Stream stream_;
};

}  // namespace accordion::memory
