#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memory/fold.h"
#include "model/config.h"
#include "op/attention.h"
#include "op/torch.h"

namespace accordion {

/// Keys and values of the tokens seen so far, so that each next token costs one row. Grows as needed.
struct KeyValueCache {
  int64_t length = 0;                       // tokens held
  std::vector<torch::Tensor> keys, values;  // one each layer: (B,capacity,K,E), the first `length` in use
};

/// What a pass needs beside the token ids.
struct Pass {
  torch::Tensor positions;         ///< (B,T) int64; undefined = 0..T-1, going on where the cache ends
  op::Pieces pieces;               ///< attend within documents only; empty = the whole row
  KeyValueCache* cache = nullptr;  ///< the pass appends its T tokens to it and attends to all that it holds
  memory::Fold fold;               ///< mini-sequences and recomputation; the result is the same without
  /// Called in the backward pass when the gradients of all weights of this layer and those after it are whole (but for
  /// a tied embedding); layer L is what comes after the layers.
  std::function<void(int64_t layer)> on_backward;
  std::function<void()> before_layer;  ///< called in the forward pass; an exception of its ends the pass
};

/// A decoder-only transformer; which one is decided by ModelConfig alone.
class Transformer {
 public:
  /// Allocates the weights, values undefined: initialise() or load_weights() comes next.
  explicit Transformer(ModelConfig config, torch::Dtype dtype = torch::kFloat, torch::Device device = torch::kCPU);

  const ModelConfig& config() const { return config_; }
  torch::Dtype dtype() const { return dtype_; }
  torch::Device device() const { return device_; }

  /// Every trainable tensor once (a tied head is the embedding), under our own names, in a fixed order. The tensors are
  /// those that the model computes with: changing their values in place changes the model.
  std::vector<std::pair<std::string, torch::Tensor>>& weights() { return weights_; }
  const std::vector<std::pair<std::string, torch::Tensor>>& weights() const { return weights_; }

  /// Draws the weights as the family's own implementation in transformers does (normal with `initializer_range`, zero
  /// biases, norms that multiply by one, a zero embedding of the padding token; gpt2 divides the projections into the
  /// residual stream by sqrt(2 L)). Equal values for an equal seed, whatever the dtype (bf16 gets the rounded f32
  /// values).
  void initialise(int64_t seed);

  /// Says that the model is used at rows of `positions` tokens: raises max_positions, as its config.json will have it.
  /// A learned table does not grow; a model with one is left as it is.
  void reach(int64_t positions);

  /// Makes every weight a parameter, with an f32 main gradient unless these are made one by one later
  /// (op::make_parameter).
  void make_trainable(bool main_gradients = true);

  /// The residual stream after the last layer: ids (B,T) int64 -> (B,T,D). Nothing that the backward pass needs holds
  /// it.
  torch::Tensor residual(const torch::Tensor& ids, const Pass& pass = {}) const;

  /// The final norm: (...,D) -> (...,D).
  torch::Tensor final_norm(const torch::Tensor& x) const { return norm(x, final_norm_); }

  /// Both, one after the other. The head is op::head_loss or head_weight().
  torch::Tensor hidden(const torch::Tensor& ids, const Pass& pass = {}) const {
    return final_norm(residual(ids, pass));
  }

  const torch::Tensor& head_weight() const;  ///< (V,D)

 private:
  struct Norm {
    torch::Tensor weight, bias;  // (D); bias undefined where the family has none
  };
  struct Linear {
    torch::Tensor weight, bias;  // (O,I), (O); bias undefined where the family has none
  };
  struct Layer {
    Norm attention_norm, mlp_norm;
    Norm attention_post_norm, mlp_post_norm;  // only with post_norms
    Linear query, key, value, output;         // (H*E,D) (K*E,D) (K*E,D) (D,H*E)
    Linear gate, up, down;                    // (F,D) (F,D) (D,F); gate only where the MLP is gated
  };

  torch::Tensor add(const std::string& name, std::vector<int64_t> shape);
  Norm add_norm(const std::string& name);
  Linear add_linear(const std::string& name, int64_t outputs, int64_t inputs, bool bias);

  /// What the layers of one pass share.
  struct Context {
    op::AttentionForm form;
    torch::Tensor positions;                 // (B,T) or (T) int64
    torch::Tensor cos, sin;                  // (B,T,R/2) or (T,R/2); undefined without rotary positions, or by chunks
    std::map<int64_t, torch::Tensor> first;  // by window: (B,T) the first key that each query sees; only by chunks
    KeyValueCache* cache = nullptr;
    memory::Fold fold;
  };
  using SharedContext = std::shared_ptr<const Context>;  // what a replay in the backward pass goes back to
  using Want = memory::Want;
  using Chunk = memory::QueryChunk;
  torch::Tensor layer(const torch::Tensor& x, size_t l, const SharedContext& context) const;
  torch::Tensor block(const torch::Tensor& x, size_t l, const SharedContext& context, const Chunk& chunk,
                      Want want) const;
  torch::Tensor attention(const torch::Tensor& x, size_t l, const Context& context, const Chunk& chunk) const;
  std::pair<torch::Tensor, torch::Tensor> keys(const torch::Tensor& x, const Layer& weights, const Context& context,
                                               const Chunk& chunk, Want want) const;
  torch::Tensor rotate(const torch::Tensor& x, const Context& context, const Chunk& chunk) const;
  std::pair<torch::Tensor, torch::Tensor> angles(const torch::Tensor& positions) const;
  torch::Tensor mlp(const torch::Tensor& x, const Layer& weights, Want want) const;
  torch::Tensor activated(const torch::Tensor& x, const Layer& weights) const;  // the MLP before `down`
  torch::Tensor norm(const torch::Tensor& x, const Norm& weights) const;

  ModelConfig config_;
  torch::Dtype dtype_;
  torch::Device device_;
  std::vector<std::pair<std::string, torch::Tensor>> weights_;
  torch::Tensor embedding_, position_table_, head_;  // (V,D) (P,D) (V,D); undefined where there is none
  std::vector<Layer> layers_;
  Norm final_norm_;
  torch::Tensor rotary_frequencies_;  // (R/2) f32
  torch::Tensor alibi_slopes_;        // (H) f32
};

}  // namespace accordion
