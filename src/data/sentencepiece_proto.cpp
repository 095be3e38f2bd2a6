#include "data/sentencepiece_proto.h"

#include <cstring>

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

}  // namespace

SentencePieceProto::SentencePieceProto(std::string_view file) {
  for (Fields model(file); model.next();) {
    if (model.number == 1) read_piece(model.bytes);
    if (model.number == 2) read_trainer(model.bytes);
    if (model.number == 3) read_normalizer(model.bytes);
  }
}

void SentencePieceProto::read_piece(std::string_view message) {
  SentencePiece piece;
  for (Fields field(message); field.next();) {
    if (field.number == 1) piece.text = field.bytes;
    if (field.number == 2 && field.bytes.size() == sizeof piece.score)
      std::memcpy(&piece.score, field.bytes.data(), sizeof piece.score);
    if (field.number == 3) piece.type = field.value;
  }
  pieces.push_back(std::move(piece));
}

void SentencePieceProto::read_trainer(std::string_view message) {
  for (Fields field(message); field.next();) {
    if (field.number == 3) kind = field.value;
    if (field.number == 24) suffix_mark = field.value != 0;
    if (field.number == 35) byte_fallback = field.value != 0;
  }
}

void SentencePieceProto::read_normalizer(std::string_view message) {
  for (Fields field(message); field.next();) {
    if (field.number == 2) character_map = field.bytes;
    if (field.number == 3) dummy_prefix = field.value != 0;
    if (field.number == 4) removes_spaces = field.value != 0;
    if (field.number == 5) escapes_spaces = field.value != 0;
  }
}

}  // namespace accordion
