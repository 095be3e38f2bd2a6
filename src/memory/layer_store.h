#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "memory/disk.h"
#include "memory/side_stream.h"
#include "op/torch.h"
#include "recipe/memory_recipe.h"

namespace accordion::memory {

/// Where layer inputs wait for the backward pass outside of the device's memory: in the host's (pinned, copied beside
/// the device's computation), or in a file. They come back in the reverse of the order in which they went; taking one
/// starts fetching the one before it. With host memory the device holds at most one more on its way out or in.
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
    torch::Tensor fetched;                   ///< on its way back from host memory
    std::optional<c10::Event> arrived;       ///< when it is
    std::weak_ptr<Away> before;              ///< what went before it, and will be wanted after it
  };
  std::shared_ptr<Away> put(const torch::Tensor& x);
  /// Once for each.
  torch::Tensor take(Away& away);

 private:
  struct Leaving {
    torch::Tensor tensor;  ///< kept until it is gone
    c10::Event gone;
  };

  explicit LayerStore(torch::Device device) : device_(device) {}
  void fetch(Away& away);
  void let_go();

  torch::Device device_;
  std::shared_ptr<DiskFile> file_;    ///< null: host memory
  std::optional<SideStream> copies_;  ///< to host memory
  std::optional<Leaving> leaving_;
  std::weak_ptr<Away> last_;
};

}  // namespace accordion::memory
