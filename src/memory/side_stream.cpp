#include "memory/side_stream.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace accordion::memory {

using c10::impl::VirtualGuardImpl;

SideStream::SideStream(torch::Device device)
    : device_(device), stream_(VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device)) {}

c10::Stream SideStream::computation() const { return VirtualGuardImpl(device_.type()).getStream(device_); }

c10::Event SideStream::copy(torch::Tensor to, const torch::Tensor& from) {
  c10::Event given(device_.type()), done(device_.type());
  given.record(computation());
  given.block(stream_);
  const c10::StreamGuard on(stream_);
  to.copy_(from, /*non_blocking=*/true);
  done.record(stream_);
  return done;
}

void SideStream::wait_for(const c10::Event& moment) { moment.block(computation()); }

}  // namespace accordion::memory
