#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace accordion {

/// A piece of a sentencepiece vocabulary; its id is its place.
struct SentencePiece {
  enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  std::string text;
  float score = 0;
  uint64_t type = normal;
};

/// What a sentencepiece `.model` says, a protocol buffer; fields and defaults are those of sentencepiece_model.proto.
/// What is damaged is left out: whether the file is whole, the library says when it loads it.
struct SentencePieceProto {
  enum Kind { unigram = 1, bpe = 2, word = 3, character = 4 };
  std::vector<SentencePiece> pieces;
  uint64_t kind = unigram;
  bool suffix_mark = false, byte_fallback = false;
  bool dummy_prefix = true, removes_spaces = true, escapes_spaces = true;
  std::string_view character_map;  // within the file

  explicit SentencePieceProto(std::string_view file);

 private:
  void read_piece(std::string_view message);
  void read_trainer(std::string_view message);
  void read_normalizer(std::string_view message);
};

}  // namespace accordion
