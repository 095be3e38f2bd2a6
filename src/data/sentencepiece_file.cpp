#include "data/sentencepiece_file.h"

#include <map>

#include "data/sentencepiece_proto.h"
#include "data/utf8.h"

namespace accordion {
namespace {

bool is_one_character(std::string_view text) {
  size_t at = 0;
  next_character(text, at);
  return at == text.size();
}

}  // namespace

std::optional<SentencePieceMerges> read_sentencepiece_merges(std::string_view file) {
  const SentencePieceProto model(file);
  if (model.kind != SentencePieceProto::bpe || !model.byte_fallback || model.suffix_mark ||
      !model.character_map.empty() || model.removes_spaces || !model.escapes_spaces)
    return {};
  StringMap<int32_t> vocabulary;
  std::map<float, int32_t, std::greater<>> ranks;  // sentencepiece merges to the piece of the highest score first
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == SentencePiece::user_defined || piece.type == SentencePiece::unused || piece.text.empty())
      return {};
    if (piece.type != SentencePiece::normal && piece.type != SentencePiece::byte) continue;
    vocabulary[piece.text] = static_cast<int32_t>(id);
    ranks[piece.score] = 0;
  }
  int32_t rank = 0;
  for (auto& [score, place] : ranks) place = rank++;

  Bpe::Options options;
  options.alphabet = Bpe::Alphabet::characters;
  options.byte_fallback = true;
  SentencePieceMerges made{Bpe(vocabulary, options), model.dummy_prefix};
  for (const auto& piece : model.pieces) {
    if (piece.type != SentencePiece::normal) continue;
    const std::string_view text = piece.text;
    for (size_t at = 0; next_character(text, at), at < text.size();) {
      const auto left = text.substr(0, at), right = text.substr(at);
      if (vocabulary.contains(left) && vocabulary.contains(right)) {
        made.bpe.add_merge(left, right, ranks[piece.score]);
      } else if ((is_one_character(left) && !vocabulary.contains(left)) ||
                 (is_one_character(right) && !vocabulary.contains(right))) {
        return {};  // the library would merge a character that has no piece of its own
      }
    }
  }
  return made;
}

}  // namespace accordion
