#pragma once

#include <cstdint>
#include <string>

#include "base/names.h"
#include "recipe/bounds.h"

/// The part of a recipe that says how long sequences are made to fit (recipe/recipe.h).
namespace accordion {

enum class Recompute { none, mlp, attention, layer };
template <>
struct Names<Recompute> {
  static constexpr std::array value{"none", "mlp", "attention", "layer"};
};

/// How a part of the model goes by mini-sequences: `off`, `auto`, tokens a chunk, or {count: M}.
struct MiniSequence {
  enum class Kind { off, automatic, tokens, count };
  Kind kind = Kind::off;
  int64_t amount = 0;
};

struct MiniSequenceRecipe {
  MiniSequence mlp, attention;
  MiniSequence head{MiniSequence::Kind::automatic, 0};
  void visit(auto&& v) {
    v("mlp", mlp, "tokens of the MLP's chunks, or how many of them; the backward pass computes each of them again",
      kAtLeastOne);
    v("attention", attention,
      "queries of a chunk of a recomputed layer, or how many chunks: the layer goes forward and backward by them",
      kAtLeastOne);
    v("head", head, "tokens of the LM head's chunks, or how many of them; off = all logits at once", kAtLeastOne);
  }
};

enum class Offload { none, host, disk };
template <>
struct Names<Offload> {
  static constexpr std::array value{"none", "host", "disk"};
};

struct OffloadRecipe {
  Offload to = Offload::none;
  std::string path;
  bool optimizer = false;
  void visit(auto&& v) {
    v("to", to, "where the inputs of recomputed layers wait for the backward pass; `offload: none` is short for it");
    v("path", path, "disk: the folder for a file without a name, best on a fast local disk");
    v("optimizer", optimizer, "disk: the optimizer's moments and master weights live in the file too");
  }
};

/// Whether weights are updated within the backward pass.
enum class InBackward { off, on, two_pass };
template <>
struct Names<InBackward> {
  static constexpr std::array value{"false", "true", "two_pass"};
};

struct MemoryRecipe {
  Recompute recompute = Recompute::none;
  int64_t recompute_every = 1;
  bool keep_attention = false;
  MiniSequenceRecipe mini_sequence;
  InBackward optimizer_in_backward = InBackward::off;
  OffloadRecipe offload = {};
  std::string timeline = {};
  void visit(auto&& v) {
    v("recompute", recompute, "what the backward pass computes again instead of keeping what it needs of it");
    v("recompute_every", recompute_every, "recompute: layer holds for every n-th layer only", kAtLeastOne);
    v("keep_attention", keep_attention,
      "recompute: layer keeps attention's output, so that attention is not computed again");
    v("mini_sequence", mini_sequence, "parts that go through in mini-sequences");
    v("optimizer_in_backward", optimizer_in_backward,
      "update a layer as soon as its gradient is whole, and free that; two_pass: a first backward pass finds the "
      "gradient's norm, for clipping");
    v("offload", offload, "what waits outside of memory");
    v("timeline", timeline, "HTML file to write: live bytes by kind over the first three steps; default: none");
  }
};

}  // namespace accordion
