#include "memory/layer_store.h"

#include "base/error.h"

namespace accordion::memory {

std::shared_ptr<LayerStore> LayerStore::open(const OffloadRecipe& recipe, torch::Device device) {
  switch (recipe.to) {
    case Offload::none:
      return nullptr;
    case Offload::host:
      if (device.is_cpu())
        throw UserError(
            "memory.offload: host memory is where a processor keeps its tensors anyway; use {to: disk, path: FOLDER}");
      return std::shared_ptr<LayerStore>(new LayerStore(device));
    case Offload::disk:
      break;
  }
  auto store = std::shared_ptr<LayerStore>(new LayerStore(device));
  store->file_ = DiskFile::open(recipe.path);
  return store;
}

std::shared_ptr<LayerStore::Away> LayerStore::put(const torch::Tensor& x) {
  const auto away = std::make_shared<Away>();
  away->sizes = x.sizes().vec();
  away->type = x.scalar_type();
  away->before = last_;
  last_ = away;
  if (file_) {
    away->place = file_->reserve(static_cast<int64_t>(x.nbytes()));
    const auto mapped = file_->map(away->place, away->sizes, away->type);
    mapped.copy_(x);
    page_out(mapped);
  } else {
    away->host = torch::empty(away->sizes, torch::dtype(away->type).pinned_memory(true));
    away->host.copy_(x, /*non_blocking=*/true);
  }
  return away;
}

torch::Tensor LayerStore::take(const Away& away) {
  if (!file_) return away.host.to(device_, /*non_blocking=*/true);
  if (const auto next = away.before.lock()) file_->read_ahead(*next->place);
  return file_->map(away.place, away.sizes, away.type).to(device_);
}

}  // namespace accordion::memory
