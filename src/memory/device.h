#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "op/torch.h"

namespace accordion {

/// Chooses the device that everything runs on: `cpu`, `cuda` or `cuda:1`. UserError where this machine or this libtorch
/// has none such.
void use_device(const std::string& name);

/// The device chosen; the processor before anything was.
torch::Device device();

/// Its memory in bytes; nothing for the processor, or where libtorch cannot say.
std::optional<int64_t> device_memory();

/// Whether it multiplies bf16 natively.
bool device_native_bf16();

/// Waits until the device has done what it was given; call before reading a clock.
void synchronize();

}  // namespace accordion
