#include "schedule/chunk.h"

#include <algorithm>
#include <bit>

namespace accordion {

int64_t automatic_head_chunk(int64_t vocabulary) {
  // Measured on 2 Zen 5 cores with V = 50304: chunks of 256 to 4,096 rows differ by less than 5 %, so memory decides. A
  // power of two, so that most batches fall into equal chunks and products come in one shape.
  constexpr int64_t kLogits = int64_t{1} << 26;
  return std::clamp<int64_t>(int64_t(std::bit_floor(uint64_t(kLogits / vocabulary))), 256, 4096);
}

int64_t automatic_layer_chunk(int64_t width) { return std::max<int64_t>(2048, (2 * width + 255) / 256 * 256); }

namespace {

int64_t chunk_of(const MiniSequence& form, int64_t automatic, int64_t tokens) {
  switch (form.kind) {
    case MiniSequence::Kind::off:
      return 0;
    case MiniSequence::Kind::automatic:
      return automatic;
    case MiniSequence::Kind::tokens:
      return form.amount;
    case MiniSequence::Kind::count:
      return (tokens + form.amount - 1) / form.amount;
  }
  return 0;
}

}  // namespace

int64_t layer_chunk(const MiniSequence& form, int64_t width, int64_t tokens) {
  return chunk_of(form, automatic_layer_chunk(width), tokens);
}

int64_t head_chunk(const MiniSequence& form, int64_t vocabulary, int64_t tokens) {
  return chunk_of(form, automatic_head_chunk(vocabulary), tokens);
}

}  // namespace accordion
