#pragma once

#include <cstdint>
#include <vector>

#include "recipe/recipe.h"

namespace accordion {

/// What FLOPs formulas need of a model: plain numbers, so that counting needs no tensors.
struct MatmulSizes {
  int64_t layers = 0;
  int64_t attention_width = 0;        ///< a = heads x head width
  int64_t layer_parameters = 0;       ///< values of the layers' matrices: projections and MLPs, all layers
  int64_t head_parameters = 0;        ///< vocabulary x width, counted once whether tied or not
  std::vector<int64_t> windows = {};  ///< by layer, 0 = all keys; empty = none
  int64_t inner_parameters = 0;       ///< of those of the layers, what goes into the MLPs' inner width: up and gate
  int64_t down_parameters = 0;        ///< of those of the layers, what comes back from it
  bool post_norms = false;            ///< a norm stands after each MLP
};

/// Of any model description that knows its counts (ModelConfig does).
template <class Model>
MatmulSizes matmul_sizes(const Model& model) {
  const int64_t down = model.layers * model.width * model.inner;
  return {.layers = model.layers,
          .attention_width = model.attention_width(),
          .layer_parameters = model.layer_matmul_parameters(),
          .head_parameters = model.head_parameters(),
          .windows = model.windows,
          .inner_parameters = down * (model.gated() ? 2 : 1),
          .down_parameters = down,
          .post_norms = model.post_norms};
}

/// Twice the number of keys that a query of a causal row of length s sees on average, which is s itself without a
/// window. A window w below s takes the s - w keys of the last query, s - w - 1 of the one before it, ... away:
/// s - (s - w)^2 / s. Where s is a mean over pieces of different lengths this is an upper bound.
double window_span(double s, int64_t window);

/// A way of counting the FLOPs of training one token:
///   layer * layer_parameters + head * head_parameters + attention * layers * s * attention_width
/// where s is the length, or each layer's window_span() of it.
/// A multiply-add is two. A matrix of a layer costs 6 a value: one GEMM forward, two backward. Attention has two GEMMs
/// forward (2 * 2 * s * a for full attention) and four backward (12 in all), or five where the scores are computed
/// again (14); causal attention needs half. Published totals differ by these three numbers; sources in docs/methods.md.
struct Accounting {
  double layer = 6, head = 0, attention = 0;
};
inline constexpr Accounting kMatmulFull{.layer = 6, .head = 6, .attention = 12};   ///< PaLM, Megatron
inline constexpr Accounting kMatmulCausal{.layer = 6, .head = 6, .attention = 6};  ///< the causal half only
inline constexpr Accounting kCausalFlash{.layer = 6, .head = 0, .attention = 7};   ///< VSL: no vocabulary, scores twice
inline constexpr Accounting kCerebrasGpt{.layer = 6, .head = 10, .attention = 24};
inline constexpr Accounting kWithoutVocabulary{.layer = 6, .head = 0, .attention = 12};  ///< Xiong et al. 2023
inline constexpr Accounting kAllParameters{
    .layer = 6, .head = 12, .attention = 12};  ///< SkyLadder: untied head, 6 N + 12 L s a

/// FLOPs to train one token that attends within pieces of effective length `s` (may be a fraction).
double flops_per_token(const MatmulSizes& model, const Accounting& accounting, double s);

/// The s of rows cut into pieces that do not see each other: sum of squared lengths over sum of lengths.
double effective_length(const std::vector<int64_t>& pieces);
double effective_length(const std::vector<std::vector<int64_t>>& rows);

/// FLOPs that this program runs for one token, in rows (or pieces) of length s: every matrix of the layers and the head
/// three times (the chunked head computes its gradients in the forward pass: still three GEMMs), and attention's seven
/// GEMMs over the blocks of keys that a causal row touches: keys are visited in blocks of kAttentionBlock, so a query
/// sees (s + block) / 2 of them on average, all s where the row is shorter than a block; a window's far end cuts blocks
/// too, so another half of one is computed there. What `memory` has computed again comes on top, once each:
///   recompute: layer       q, k, v and output projections, attention's two forward GEMMs (not with keep_attention),
///   gate
///                          and up; in layers 0, n, 2 n, ... with recompute_every: n
///   recompute: attention   the projections and the two GEMMs
///   recompute: mlp, or mini_sequence.mlp    gate and up
/// and, where gate and up are, the product down only if a norm follows it: nothing else reads its values. Chunks of
/// queries (mini_sequence.attention) add nothing: keys and values are made once before a row's chunks are replayed.
double executed_per_token(const MatmulSizes& model, double s, const MemoryRecipe& memory = {});
inline constexpr int64_t kAttentionBlock = 512;  ///< keys a block of libtorch's causal CPU kernel, as of ours

/// The four accountings that the program reports.
struct Flops {
  double matmul_full = 0, matmul_causal = 0, causal_flash = 0, executed = 0;
  Flops& operator+=(const Flops& other);
};
Flops operator*(double times, const Flops& flops);

/// FLOPs of one token in rows (or pieces) of effective length s, trained with these memory techniques.
Flops training_flops(const MatmulSizes& model, double s, const MemoryRecipe& memory = {});

}  // namespace accordion
