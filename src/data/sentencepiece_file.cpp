#include "data/sentencepiece_file.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "data/utf8.h"

namespace accordion {
namespace {

/// The fields of a protocol buffer message, one after another.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}
  int number = 0;
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of a string, message or fixed-size number

  /// False at the end, or where the message is damaged.
  bool next() {
    if (rest_.empty()) return false;
    const auto tag = varint();
    number = static_cast<int>(tag >> 3);
    switch (tag & 7) {
      case 0:
        value = varint();
        return true;
      case 1:
        return take(8);
      case 2:
        return take(varint());
      case 5:
        return take(4);
      default:
        return false;
    }
  }

 private:
  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      result |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) break;
    }
    return result;
  }
  bool take(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  std::string_view rest_;
};

struct Piece {
  enum Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  std::string text;
  float score = 0;
  uint64_t type = normal;
};

/// The numbers of the fields and their defaults are those of sentencepiece_model.proto.
struct ModelFile {
  std::vector<Piece> pieces;
  uint64_t model_type = 1;  // 2 = BPE
  bool suffix_mark = false, byte_fallback = false;
  bool character_map = false, dummy_prefix = true, removes_spaces = true, escapes_spaces = true;

  explicit ModelFile(std::string_view file) {
    for (Fields model(file); model.next();) {
      if (model.number == 1) read_piece(model.bytes);
      if (model.number == 2) read_trainer(model.bytes);
      if (model.number == 3) read_normalizer(model.bytes);
    }
  }
  void read_piece(std::string_view message) {
    Piece piece;
    for (Fields field(message); field.next();) {
      if (field.number == 1) piece.text = field.bytes;
      if (field.number == 2 && field.bytes.size() == sizeof piece.score)
        std::memcpy(&piece.score, field.bytes.data(), sizeof piece.score);
      if (field.number == 3) piece.type = field.value;
    }
    pieces.push_back(std::move(piece));
  }
  void read_trainer(std::string_view message) {
    for (Fields field(message); field.next();) {
      if (field.number == 3) model_type = field.value;
      if (field.number == 24) suffix_mark = field.value != 0;
      if (field.number == 35) byte_fallback = field.value != 0;
    }
  }
  void read_normalizer(std::string_view message) {
    for (Fields field(message); field.next();) {
      if (field.number == 2) character_map = !field.bytes.empty();
      if (field.number == 3) dummy_prefix = field.value != 0;
      if (field.number == 4) removes_spaces = field.value != 0;
      if (field.number == 5) escapes_spaces = field.value != 0;
    }
  }
};

bool is_one_character(std::string_view text) {
  size_t at = 0;
  next_character(text, at);
  return at == text.size();
}

}  // namespace

std::optional<SentencePieceMerges> read_sentencepiece_merges(std::string_view file) {
  const ModelFile model(file);
  if (model.model_type != 2 || !model.byte_fallback || model.suffix_mark || model.character_map ||
      model.removes_spaces || !model.escapes_spaces)
    return {};
  StringMap<int32_t> vocabulary;
  std::map<float, int32_t, std::greater<>> ranks;  // sentencepiece merges to the piece of the highest score first
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == Piece::user_defined || piece.type == Piece::unused || piece.text.empty()) return {};
    if (piece.type != Piece::normal && piece.type != Piece::byte) continue;
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
    if (piece.type != Piece::normal) continue;
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
