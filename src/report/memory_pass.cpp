#include "report/memory_pass.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/machine.h"
#include "report/ledger.h"
#include "schedule/chunk.h"

// What model/transformer.cpp allocates, in the order in which it does so. The functions have the names of those that
// they follow; letters are those of model/shapes.h.
namespace accordion {
namespace {

constexpr double kWide = 1024;  // side of the f32 blocks in which bf16 is multiplied by processors without it
constexpr double kIndex = 8;    // int64: ids, targets, positions, the first key that a query sees

/// Tokens that go through a layer at once, and what they attend to.
struct Part {
  double rows, tokens;  ///< of all rows
  double seen;          ///< keys of a row that any of its queries sees
  bool keyed = false;   ///< a chunk of one row, whose keys and values lie in an op::KeyedRow
  bool replay = false;  ///< with `keyed`: those keys are there from the start
};

/// Bytes of one token (or, where it says so, of one weight) in each kind of tensor.
struct Sizes {
  Sizes(const ModelConfig& model, bool bf16)
      : element(bf16 ? 2 : 4),
        width(element * double(model.width)),
        queries(element * double(model.attention_width())),
        keys(element * double(model.kv_heads * model.head_width)),
        inner(element * double(model.inner)),
        statistics(model.norm == NormKind::layer_norm ? 8 : 4),
        lse(4 * double(model.heads)),
        angles(model.position == PositionKind::rotary ? 4 * double(model.head_width) * model.rotary_fraction / 2 : 0) {}
  double element;
  double width, queries, keys, inner;  ///< D, H*E, K*E and F values
  double statistics;                   ///< of a norm: f32 rstd and, in layer norms, mean
  double lse;                          ///< f32 for each head
  double angles;                       ///< f32 cos, or sin, of R/2 pairs
};

class PassPlay {
 public:
  PassPlay(const ModelConfig& model, bool bf16, int64_t rows, int64_t length, const MemoryRecipe& memory,
           int64_t threads, bool native_bf16)
      : model_(model),
        memory_(memory),
        b_(model, bf16),
        bf16_(bf16),
        native_bf16_(native_bf16),
        gated_(model.gated()),
        threads_(double(threads)),
        B_(double(rows)),
        T_(double(length)),
        N_(B_ * T_),
        mlp_chunk_(double(layer_chunk(memory.mini_sequence.mlp, model.width, rows * length))),
        query_chunk_(double(layer_chunk(memory.mini_sequence.attention, model.width, length))),
        head_chunk_(double(head_chunk(memory.mini_sequence.head, model.vocabulary, rows * length))),
        by_queries_(memory.recompute == Recompute::layer && (query_chunk_ > 0 || memory.keep_attention)) {}

  PassMemory play() {
    PassMemory result;
    begin();
    for (int64_t l = 0; l < model_.layers; ++l) layer_forward(l);
    result.forward = ledger_.end_phase();
    result.kept = ledger_.now();
    head();
    result.head = ledger_.end_phase();
    if (head_chunk_ == 0) {  // by chunks the gradient stands in the place of the last layer's output
      norm_backward(N_);
      ledger_.give(N_ * b_.width);
    }
    for (int64_t l = model_.layers - 1; l >= 0; --l) layer_backward(l);
    if (model_.embedding_scale != 1) ledger_.touch(N_ * b_.width);
    result.backward = ledger_.end_phase();
    return result;
  }

 private:
  bool recomputes(int64_t layer) const {
    return memory_.recompute == Recompute::layer && layer % memory_.recompute_every == 0;
  }
  bool mlp_folds() const { return mlp_chunk_ > 0 || memory_.recompute == Recompute::mlp; }
  Part all() const { return {B_, N_, T_}; }
  Part chunk(int64_t layer, bool replay) const {
    const double C = query_chunk_ > 0 ? std::min(query_chunk_, T_) : T_;
    const double window = double(model_.window_of(layer));
    return {1, C, window > 0 ? std::min(T_, C + window) : T_, true, replay};
  }

  /// ids, targets and positions; what layers share; the embedding's output, which is the first layer's input.
  void begin() {
    ledger_.take(kIndex * (2 * N_ + T_));
    if (by_queries_) {
      const std::set<int64_t> windows(model_.windows.begin(), model_.windows.end());
      ledger_.take(kIndex * N_ * double(std::max<size_t>(1, windows.size())));  // the first key of each query
    } else {
      ledger_.touch(3 * T_ * b_.angles);
      ledger_.take(2 * T_ * b_.angles);  // cos and sin
    }
    ledger_.take(N_ * b_.width);
    if (memory_.offload.to == Offload::host) ledger_.take(N_ * b_.width);  // one layer's input on its way
    if (model_.embedding_scale != 1) ledger_.touch(N_ * b_.width);
    if (model_.position == PositionKind::learned) ledger_.touch((T_ + N_) * b_.width);
  }

  // The final norm, the head and its loss, and the gradients that they leave: those of the last layer's output.
  void head() {
    const double V = double(model_.vocabulary);
    if (head_chunk_ > 0) {
      const double C = std::min(head_chunk_, N_);
      ledger_.touch(N_);  // which rows count
      ledger_.take(C * (b_.width + b_.statistics));
      ledger_.take(C * (V * b_.element + 4));  // logits, in place their gradient; losses
      weight_product(C, V * b_.element);
      ledger_.touch(2 * C * b_.width);  // gradients of the norm's output and input
      ledger_.give(C * (V * b_.element + 4 + b_.width + b_.statistics));
      return;
    }
    ledger_.take(N_ * (b_.width + b_.statistics));          // the final norm's output and statistics
    const double logits = N_ * V * 4;                       // in f32
    if (bf16_) ledger_.touch(logits * 1.5);                 // before they are widened
    const double caps = model_.final_soft_cap > 0 ? 1 : 0;  // tanh's result
    ledger_.take(logits * (1 + caps));
    if (caps > 0) ledger_.touch(logits);
    ledger_.take(logits);       // log-probabilities
    ledger_.give(logits);       // the logits themselves
    ledger_.touch(2 * logits);  // gradients of both
    ledger_.give(logits * (1 + caps));
    ledger_.take(logits);  // gradient of the logits
    if (bf16_) {
      ledger_.take(logits / 2);  // narrowed
      ledger_.give(logits);
    }
    const double narrow = N_ * V * b_.element;
    ledger_.take(N_ * b_.width);  // gradient of the hidden states
    weight_product(N_, V * b_.element);
    ledger_.give(narrow);
  }

  void layer_forward(int64_t l) {
    if (!recomputes(l)) return block_forward(all(), true, true);
    if (!by_queries_) {
      block_forward(all(), false, true);
    } else {
      ledger_.take(N_ * b_.width);                                           // the layer's output
      if (memory_.keep_attention) ledger_.take(N_ * (b_.queries + b_.lse));  // kept
      ledger_.take(2 * T_ * b_.keys);                                        // a row's keys and values
      const Part part = chunk(l, false);
      block_forward(part, false, true);
      ledger_.give(part.tokens * b_.width + 2 * T_ * b_.keys);
    }
    if (memory_.offload.to != Offload::none) ledger_.give(N_ * b_.width);  // the layer's input, once it is away
  }

  void layer_backward(int64_t l) {
    if (!recomputes(l)) {
      block_backward(all(), false);
      ledger_.give(N_ * b_.width);  // the layer's input
      return;
    }
    const double result = b_.width;
    if (memory_.offload.to == Offload::host) ledger_.take(N_ * b_.width);  // fetched; one on disk is mapped
    if (!by_queries_) {
      block_forward(all(), true, false);
      block_backward(all(), true);
      if (!mlp_folds()) ledger_.give(N_ * result);
      ledger_.give(N_ * b_.width);  // its gradient, copied to the place of the incoming one
    } else {
      const Part part = chunk(l, true);
      const double sums = 2 * 4 / b_.element * padded(T_) * b_.keys;  // f32 gradients of a row's keys and values
      ledger_.take(2 * T_ * b_.keys + sums);
      block_forward(part, true, false);
      block_backward(part, true);
      if (!mlp_folds()) ledger_.give(part.tokens * result);
      ledger_.give(part.tokens * b_.width + 2 * T_ * b_.keys + sums);
      if (memory_.keep_attention) ledger_.give(N_ * (b_.queries + b_.lse));
    }
    if (memory_.offload.to != Offload::disk) ledger_.give(N_ * b_.width);  // the layer's input
  }

  /// Ends with the block's output taken, if `read`; with `save` also with what its backward pass needs.
  void block_forward(const Part& part, bool save, bool read) {
    attend(part, save && memory_.recompute != Recompute::attention);
    const double n = part.tokens;
    if (!mlp_folds()) {
      feed_forward(n, save, read);
    } else if (read) {
      const double C = mlp_chunk_ > 0 ? std::min(mlp_chunk_, n) : n;
      if (C < n) ledger_.take(n * b_.width);
      feed_forward(C, false, true);
      if (C < n) ledger_.give(C * b_.width);
    }
    if (!keeps_attended(save)) ledger_.give(n * b_.width);
  }

  bool keeps_attended(bool save) const { return save && (!model_.parallel_residual || mlp_folds()); }

  /// The gradient of the output is held before, that of the input after. `shared`: the former is held by somebody else
  /// too, and the latter comes beside it.
  void block_backward(const Part& part, bool shared) {
    const double n = part.tokens, gradient = n * b_.width;
    const bool parallel = model_.parallel_residual;
    bool own = !shared;  // whether the gradient may be overwritten
    if (mlp_folds()) {
      const double C = mlp_chunk_ > 0 ? std::min(mlp_chunk_, n) : n;
      if (!own) ledger_.take(gradient);  // a copy to overwrite
      own = true;
      if (parallel) ledger_.take(gradient);  // of x, which the MLP reads
      feed_forward(C, true, false);          // with a result, whose values nobody reads
      feed_forward_backward(C);
      if (!parallel) ledger_.touch(C * b_.width);  // the sum with what comes past the MLP
      ledger_.give(2 * C * b_.width);
    } else {
      feed_forward_backward(n);
      if (!parallel && own) ledger_.give(gradient);  // added to what comes past the MLP
      if (!parallel && !own) ledger_.touch(gradient);
      own = own || !parallel;
    }
    if (keeps_attended(true)) ledger_.give(n * b_.width);
    if (memory_.recompute == Recompute::attention) {
      attend(part, true);
      attend_backward(part);
      ledger_.touch(gradient);     // the sum with what comes past
      ledger_.give(2 * gradient);  // it, and the replay's result
    } else {
      attend_backward(part);
      ledger_.give(gradient);  // added to what comes past
    }
    if (parallel && own) ledger_.give(gradient);  // added to that of the MLP's input
  }

  /// x + attention(norm(x)).
  void attend(const Part& part, bool save) {
    const double n = part.tokens, normed = n * (b_.width + b_.statistics);
    const bool turns = model_.position == PositionKind::rotary, kept_output = part.replay && memory_.keep_attention;
    const double angles = part.keyed ? n * b_.angles : 0;  // by chunks made for each
    const double k = part.replay && !turns ? 0 : n * b_.keys, v = part.replay ? 0 : n * b_.keys;
    ledger_.take(normed);
    ledger_.take(n * b_.queries);
    if (turns) make_angles(angles);
    ledger_.take(k);
    if (turns) make_angles(angles);
    ledger_.take(v);
    if (!part.keyed) ledger_.take(kIndex * n);  // the first key of each query
    const double y = kept_output ? n * b_.lse : n * (b_.queries + b_.lse);
    ledger_.take(y);
    if (!kept_output) ledger_.touch(attention_scratch(part));
    ledger_.take(n * b_.width);                   // output projection
    if (model_.post_norms) ledger_.take(normed);  // its norm
    if (part.replay) ledger_.give(k + v);         // what lies in the row
    if (!save) {
      ledger_.give(n * b_.queries + k + v + y + 2 * angles * (turns ? 2 : 0));
      if (!part.keyed) ledger_.give(kIndex * n);
      if (model_.post_norms) ledger_.give(normed);
    }
    ledger_.take(n * b_.width);  // the sum
    ledger_.give(n * b_.width);
    if (!save) ledger_.give(normed);
  }

  /// Turning is done in place.
  void make_angles(double angles) {
    ledger_.touch(3 * angles);
    ledger_.take(2 * angles);  // cos and sin
  }

  void attend_backward(const Part& part) {
    const double n = part.tokens, normed = n * (b_.width + b_.statistics);
    const bool turns = model_.position == PositionKind::rotary, kept_output = part.replay && memory_.keep_attention;
    const double angles = part.keyed ? n * b_.angles : 0;
    if (model_.post_norms) {
      ledger_.take(n * b_.width);
      ledger_.give(normed);
    }
    ledger_.take(n * b_.queries);  // gradient of attention's output
    weight_product(n, b_.queries);
    if (model_.post_norms) ledger_.give(n * b_.width);
    ledger_.take(n * (b_.queries + 2 * b_.keys));  // gradients of q, k, v
    ledger_.touch(attention_backward_scratch(part));
    ledger_.give(n * b_.queries);
    ledger_.give(n * (b_.queries + (kept_output ? 0 : b_.queries) + b_.lse));  // q, output, lse
    if (!part.keyed) ledger_.give(n * (2 * b_.keys + kIndex));                 // k, v, first keys
    ledger_.take(n * b_.width);                                                // gradient of the norm's output
    weight_product(n, b_.keys);
    ledger_.give(n * b_.keys);
    ledger_.touch(n * b_.width);  // from keys, then from queries: added to it
    weight_product(n, b_.keys);
    ledger_.give(n * b_.keys);
    ledger_.touch(n * b_.width);
    weight_product(n, b_.queries);
    ledger_.give(n * b_.queries + 2 * angles * (turns ? 2 : 0));
    norm_backward(n);
  }

  /// The gradient of a norm's output, held before, gives way to that of its input.
  void norm_backward(double n) {
    ledger_.give(n * b_.width);  // the norm's output
    ledger_.take(n * b_.width);
    ledger_.give(n * (b_.width + b_.statistics));
  }

  /// inputs[0] + mlp(norm(inputs.back())); without `read` the values of the last product are left out.
  void feed_forward(double n, bool save, bool read) {
    const double normed = n * (b_.width + b_.statistics), inners = n * b_.inner * (gated_ ? 2 : 1);
    ledger_.take(normed);
    ledger_.take(inners);        // up and gate
    ledger_.take(n * b_.inner);  // what is projected down
    if (!save) ledger_.give(inners);
    const bool down = read || model_.post_norms;
    if (down) ledger_.take(n * b_.width);
    if (!save) ledger_.give(n * b_.inner);
    if (model_.post_norms) {
      ledger_.take(normed);
      if (!save) ledger_.give(normed);
    }
    ledger_.take(n * b_.width);  // the sum
    if (down) ledger_.give(n * b_.width);
    if (!save) ledger_.give(normed);
  }

  void feed_forward_backward(double n) {
    const double inners = n * b_.inner * (gated_ ? 2 : 1);
    if (model_.post_norms) {
      ledger_.take(n * b_.width);
      ledger_.give(n * (b_.width + b_.statistics));
    }
    ledger_.take(n * b_.inner);  // gradient of what is projected down
    weight_product(n, b_.inner);
    ledger_.give(n * b_.inner);
    if (model_.post_norms) ledger_.give(n * b_.width);
    ledger_.take(inners);  // gradients of up and gate
    ledger_.give(n * b_.inner);
    ledger_.give(inners);
    ledger_.take(n * b_.width);  // gradient of the norm's output
    weight_product(n, b_.inner);
    if (gated_) {
      ledger_.give(n * b_.inner);
      ledger_.touch(n * b_.width);
      weight_product(n, b_.inner);
    }
    ledger_.give(n * b_.inner);
    norm_backward(n);
  }

  /// The product over `n` tokens that is a weight's gradient, `outputs` (in bytes) x D: in f32 added to the main
  /// gradient as it is made, in bf16 afterwards. oneDNN packs what it reads across, in blocks. Without native bf16
  /// blocks of both sides are widened (op/product.h), and added as they are made.
  void weight_product(double n, double outputs) {
    if (bf16_ && !native_bf16_) return ledger_.touch(2 * 4 * kWide * std::min(n, kWide));
    constexpr double kMost = 0.6 * (1 << 20), kToken = 800;  // bytes of a thread; measured, some +- 50 %
    ledger_.touch((bf16_ ? outputs * double(model_.width) : 0) + threads_ * std::min(kMost, n * kToken));
  }

  static double padded(double tokens) { return double((int64_t(tokens) + 63) / 64 * 64); }

  /// Packed copies of keys and values (op/cpu/attention.cpp), and each thread's tiles.
  double attention_scratch(const Part& part) const {
    constexpr double kQueries = 64, kKeys = 512;
    const double E = double(model_.head_width);
    const double tiles = kQueries * ((kKeys + E) * (4 + b_.element) + 8);
    return 2 * part.rows * padded(part.seen) * b_.keys + threads_ * tiles;
  }

  /// For each head at work: its keys turned and, where the caller brings no sums, f32 gradients of keys and values
  /// (op/cpu/attention_backward.cpp).
  double attention_backward_scratch(const Part& part) const {
    constexpr double kQueries = 64, kKeys = 128;
    const double E = double(model_.head_width), heads = part.rows * double(model_.kv_heads);
    const double tiles = kQueries * E * (4 * b_.element + 4) + kQueries * kKeys * (3 * b_.element + 8);
    const double tails = 2 * kKeys * E * b_.element;
    const double blocks = std::ceil(part.tokens / part.rows / kQueries);
    const double split = heads >= threads_ ? 1 : std::clamp(std::ceil(2 * threads_ / heads), 1.0, blocks);
    const bool sums = split > 1 || !part.keyed;
    const double head = padded(part.seen) * E * (b_.element + (sums ? 8 : 0)) + tails;
    return (split > 1 ? heads * split : std::min(threads_, heads)) * head + threads_ * tiles;
  }

  const ModelConfig& model_;
  const MemoryRecipe& memory_;
  Sizes b_;
  bool bf16_, native_bf16_, gated_;
  double threads_, B_, T_, N_;
  double mlp_chunk_, query_chunk_, head_chunk_;
  bool by_queries_;
  Ledger ledger_;
};

}  // namespace

PassMemory play_pass(const ModelConfig& model, bool bf16, int64_t rows, int64_t length, const MemoryRecipe& memory,
                     int64_t threads, bool native_bf16) {
  return PassPlay(model, bf16, rows, length, memory, threads, native_bf16).play();
}

}  // namespace accordion
