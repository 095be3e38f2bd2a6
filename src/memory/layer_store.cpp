#include "memory/layer_store.h"

#include "base/error.h"

namespace accordion::memory {

std::shared_ptr<LayerStore> LayerStore::open(const OffloadRecipe& recipe, torch::Device device) {
  if (recipe.to == Offload::none) return nullptr;
  if (recipe.to == Offload::host && device.is_cpu())
    throw UserError(
        "memory.offload: host memory is where a processor keeps its tensors anyway; use {to: disk, path: FOLDER}");
  auto store = std::shared_ptr<LayerStore>(new LayerStore(device));
  if (recipe.to == Offload::host) {
    store->copies_.emplace(device);
  } else {
    store->file_ = DiskFile::open(recipe.path);
  }
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
    // Without this the caller, who is far ahead of the device, would have freed none of the memory that it asks for.
    let_go();
    away->host = torch::empty(away->sizes, torch::dtype(away->type).pinned_memory(true));
    leaving_.emplace(x, copies_->copy(away->host, x));
  }
  return away;
}

torch::Tensor LayerStore::take(Away& away) {
  const auto next = away.before.lock();
  if (file_) {
    if (next) file_->read_ahead(*next->place);
    return file_->map(away.place, away.sizes, away.type).to(device_);
  }
  let_go();
  if (!away.fetched.defined()) fetch(away);
  copies_->wait_for(*away.arrived);
  torch::Tensor x = std::move(away.fetched);
  away.host = torch::Tensor();
  if (next && next->host.defined() && !next->fetched.defined()) fetch(*next);
  return x;
}

void LayerStore::fetch(Away& away) {
  away.fetched = torch::empty(away.sizes, torch::dtype(away.type).device(device_));
  away.arrived.emplace(copies_->copy(away.fetched, away.host));
}

void LayerStore::let_go() {
  if (leaving_) leaving_->gone.synchronize();
  leaving_.reset();
}

}  // namespace accordion::memory
