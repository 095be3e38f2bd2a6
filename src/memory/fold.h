#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "memory/layer_store.h"
#include "op/attention_chunk.h"
#include "op/torch.h"
#include "recipe/memory_recipe.h"

/// Mini-sequences and recomputation: functions that keep no more than their inputs, and compute the rest again, part by
/// part, when their gradient is asked for. They wrap a callable, so whatever it is made of stays as it is. The results
/// are those of the callable; gradients of weights add up over the parts in the weights' main gradients
/// (op/gradient.h).
namespace accordion::memory {

/// How a pass is folded, in numbers.
struct Fold {
  Recompute recompute = Recompute::none;
  int64_t every = 1;                       ///< recompute::layer holds for layers 0, every, 2 * every, ...
  int64_t mlp = 0;                         ///< tokens of a mini-sequence of the MLP; 0 = all at once
  int64_t attention = 0;                   ///< queries of a mini-sequence of a recomputed layer; 0 = all at once
  bool keep_attention = false;             ///< a recomputed layer keeps attention's output, so that attention runs once
  std::shared_ptr<LayerStore> store = {};  ///< where inputs of recomputed layers wait; null = where they are

  bool recomputes(size_t layer) const { return recompute == Recompute::layer && int64_t(layer) % every == 0; }
  bool by_queries() const { return recompute == Recompute::layer && (attention > 0 || keep_attention); }
};

/// The fold that a recipe means for a pass over rows of `length` tokens, through a model of this width.
Fold fold_of(const MemoryRecipe& recipe, int64_t width, int64_t rows, int64_t length,
             std::shared_ptr<LayerStore> store = {});

/// What a caller wants of a part: its values; or only that autograd can go back through it, where the values of the
/// result will not be read (what computes them alone may be left out).
enum class Want { values, gradients };

/// A function of tensors that has the shape and type of the first as its result.
using Part = std::function<torch::Tensor(const std::vector<torch::Tensor>& inputs, Want want)>;

/// part(inputs) by slices of `chunk` along the first dimension, for a part that treats every slice alone; one slice of
/// everything is plain recomputation (Chen et al. 2016). Saves the inputs only. Each slice runs once more in the
/// backward pass, with Want::gradients, and its gradients are complete before the next slice begins: nothing but one
/// slice's intermediates is ever held. (Luo et al. 2024, MsT, algorithms 1 and 3, with the backward by mini-sequences
/// that its code lacks.) The gradient of the first input takes the place of the incoming gradient where nobody else
/// holds that. `anchor` is a weight of the part: it makes the result require a gradient where no input does. With a
/// `store` the inputs wait there.
torch::Tensor by_chunks(const Part& part, const std::vector<torch::Tensor>& inputs, int64_t chunk,
                        const torch::Tensor& anchor, Want want = Want::values,
                        const std::shared_ptr<LayerStore>& store = {});

/// The tokens [begin, begin + C) of row `row_number`, on their way through a layer.
struct QueryChunk {
  int64_t row_number = 0, begin = 0;
  std::shared_ptr<op::KeyedRow> row;  ///< null = all rows and tokens, without chunks
};

/// A transformer's layer by chunks of its queries.
struct QueryPart {
  op::KeyedRow::Sizes row;
  /// Computes the chunk's keys and values into its row.
  std::function<void(const torch::Tensor& x, const QueryChunk& chunk)> keys;
  /// The layer's result for the chunk; attention goes through op::attention_chunk.
  std::function<torch::Tensor(const torch::Tensor& x, const QueryChunk& chunk, Want want)> layer;
};

/// The layer over x (B,T,D), row by row and `fold.attention` queries at a time, saving x only (and, with
/// keep_attention, attention's output and lse). The backward makes a row's keys and values anew, then takes its chunks
/// from the last to the first: beside x and the gradient, which is overwritten where nobody else holds it, a row holds
/// its keys, values and f32 gradients of both, and one chunk's intermediates. (StreamBP, Luo et al. 2025.)
torch::Tensor by_queries(const QueryPart& part, const torch::Tensor& x, const Fold& fold, const torch::Tensor& anchor);

}  // namespace accordion::memory
