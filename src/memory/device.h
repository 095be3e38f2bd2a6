#pragma once

#include <string>

#include "op/torch.h"

namespace accordion {

/// Chooses the device that everything runs on: `cpu`, `cuda` or `cuda:1`. UserError where this machine or this libtorch
/// has none such.
void use_device(const std::string& name);

/// The device chosen; the processor before anything was.
torch::Device device();

/// Waits until the device has done what it was given; call before reading a clock.
void synchronize();

}  // namespace accordion
