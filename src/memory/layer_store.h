#pragma once

#include <memory>
#include <vector>

#include "memory/disk.h"
#include "op/torch.h"
#include "recipe/memory_recipe.h"

namespace accordion::memory {

/// Where layer inputs wait for the backward pass outside of the device's memory: in the host's (pinned, copied on the
/// device's stream without the host waiting), or in a file. They come back in the reverse of the order in which they
/// went; taking one starts fetching the one before it.
class LayerStore {
 public:
  /// Null where the recipe keeps layer inputs where they are. UserError where the place makes no sense for the device
  /// or the file cannot be made.
  static std::shared_ptr<LayerStore> open(const OffloadRecipe& recipe, torch::Device device);

  /// A tensor that is away.
  struct Away {
    std::vector<int64_t> sizes;
    torch::ScalarType type;
    torch::Tensor host;                      ///< in host memory
    std::shared_ptr<DiskFile::Place> place;  ///< in the file
    std::weak_ptr<Away> before;              ///< what went before it, and will be wanted after it
  };
  std::shared_ptr<Away> put(const torch::Tensor& x);
  torch::Tensor take(const Away& away);

 private:
  explicit LayerStore(torch::Device device) : device_(device) {}
  torch::Device device_;
  std::shared_ptr<DiskFile> file_;  ///< null: host memory
  std::weak_ptr<Away> last_;
};

}  // namespace accordion::memory
