#include "memory/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>

#include "base/error.h"
#include "base/machine.h"
#include "memory/device_meter.h"

namespace accordion {
namespace {

torch::Device chosen = torch::kCPU;

}  // namespace

void use_device(const std::string& name) {
  if (name == "cpu") {
    chosen = torch::kCPU;
    return;
  }
  const auto index = name.starts_with("cuda:") ? name.substr(5) : std::string("0");
  const bool number = !index.empty() && index.size() < 4 && index.find_first_not_of("0123456789") == std::string::npos;
  if ((name != "cuda" && !name.starts_with("cuda:")) || !number)
    throw UserError("--device: '" + name + "' is not a device; say cpu, cuda or cuda:INDEX");
  const int count = torch::cuda::is_available() ? static_cast<int>(torch::cuda::device_count()) : 0;
  if (std::stoi(index) >= count)
    throw UserError("--device: " + name + " is not there: libtorch sees " + std::to_string(count) +
                    " CUDA devices; use --device cpu");
  chosen = torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(std::stoi(index)));
  memory::meter_devices();
}

torch::Device device() { return chosen; }

std::optional<int64_t> device_memory() {
  if (!chosen.is_cuda()) return {};
  try {
    at::globalContext().lazyInitDevice(chosen.type());
    return static_cast<int64_t>(at::accelerator::getMemoryInfo(chosen.index()).second);
  } catch (const c10::Error&) {
    return {};
  }
}

bool device_native_bf16() { return chosen.is_cuda() || native_bf16(); }

void synchronize() {
  if (chosen.is_cuda()) torch::cuda::synchronize(chosen.index());
}

}  // namespace accordion
