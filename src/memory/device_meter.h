#pragma once

namespace accordion::memory {

/// Counts the tensors of devices that are not the processor in the meter (memory/meter.h) from here on: in the blocks
/// that libtorch's allocator gives out, which are up to 512 bytes larger, those of more than a MiB up to a MiB. For
/// what the calling thread and the backward passes that it starts allocate and free. Costs some 100 ns for each of
/// them.
void meter_devices();

}  // namespace accordion::memory
