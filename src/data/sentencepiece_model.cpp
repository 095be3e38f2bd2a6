#include "data/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "data/sentencepiece_file.h"

namespace accordion {
namespace {

constexpr char kSpaceMark[] = "\u2581";
constexpr size_t kLongestLine = 8192;       // bytes; longer ones are cut
constexpr int64_t kSampledLines = 1 << 20;  // bounds the trainer's memory whatever the input

void expect(const sentencepiece::util::Status& status) {
  if (!status.ok()) throw std::runtime_error("sentencepiece: " + status.ToString());
}

/// Texts as the lines that the trainer wants.
class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::function<bool(std::string&)>& texts) : texts_(texts) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override {
    do {
      while (at_ >= text_.size()) {
        at_ = 0;
        if (!texts_(text_)) {
          done_ = true;
          return;
        }
      }
      size_t end = std::min(text_.find('\n', at_), text_.size());
      if (end - at_ > kLongestLine) {
        end = at_ + kLongestLine;
        while ((text_[end] & 0xC0) == 0x80) --end;  // not inside a character
      }
      line_ = text_.substr(at_, end - at_);
      at_ = end + (end < text_.size() && text_[end] == '\n');
    } while (line_.empty());
  }

 private:
  const std::function<bool(std::string&)>& texts_;
  std::string text_, line_;
  size_t at_ = 0;
  bool done_ = false;
};

}  // namespace

struct SentencePieceModel::Processor {
  sentencepiece::SentencePieceProcessor pieces;
  std::optional<SentencePieceMerges> merges;
};

SentencePieceModel::SentencePieceModel(const std::string& path) : processor_(std::make_unique<Processor>()) {
  if (!processor_->pieces.Load(path).ok())
    throw UserError(path + ": not a sentencepiece model, nor a tokenizer.json; fetch the file again");
  processor_->merges = read_sentencepiece_merges(read_file(path));
}

SentencePieceModel::SentencePieceModel(SentencePieceModel&&) noexcept = default;
SentencePieceModel::~SentencePieceModel() = default;

void SentencePieceModel::encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  if (const auto& merges = processor_->merges) {
    std::string marked = merges->dummy_prefix ? kSpaceMark : "";
    for (const char c : text) c == ' ' ? marked += kSpaceMark : marked += c;
    return merges->bpe.encode_text(marked, cache, ids);
  }
  std::vector<int> part;
  expect(processor_->pieces.Encode(text, &part));
  ids.insert(ids.end(), part.begin(), part.end());
}

std::string SentencePieceModel::decode(const std::vector<int64_t>& ids) const {
  std::vector<int> known;
  for (const auto id : ids)
    if (id >= 0 && id < vocabulary()) known.push_back(static_cast<int>(id));
  std::string text;
  expect(processor_->pieces.Decode(known, &text));
  return text;
}

int64_t SentencePieceModel::vocabulary() const { return processor_->pieces.GetPieceSize(); }

namespace {
std::optional<int64_t> if_there(int id) { return id >= 0 ? std::optional<int64_t>(id) : std::nullopt; }
}  // namespace

std::optional<int64_t> SentencePieceModel::begin_of_text() const { return if_there(processor_->pieces.bos_id()); }
std::optional<int64_t> SentencePieceModel::end_of_text() const { return if_there(processor_->pieces.eos_id()); }
std::optional<int64_t> SentencePieceModel::unknown() const { return if_there(processor_->pieces.unk_id()); }

std::optional<int64_t> SentencePieceModel::id_of(const std::string& piece) const {
  const int id = processor_->pieces.PieceToId(piece);  // that of the unknown piece where there is none
  if (id < 0 || id >= vocabulary() || name_of(id) != piece) return {};
  return id;
}

std::string SentencePieceModel::name_of(int64_t id) const { return processor_->pieces.IdToPiece(static_cast<int>(id)); }

bool SentencePieceModel::is_control(int64_t id) const { return processor_->pieces.IsControl(static_cast<int>(id)); }

std::string train_sentencepiece(const std::function<bool(std::string&)>& texts, int64_t vocabulary) {
  sentencepiece::SetRandomGeneratorSeed(1);  // of the sample
  Lines lines(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", "bpe"},
       {"vocab_size", std::to_string(vocabulary)},
       {"byte_fallback", "true"},
       {"character_coverage", "0.9995"},
       {"normalization_rule_name", "identity"},  // decoding gives the text back, spaces and all
       {"remove_extra_whitespaces", "false"},
       {"allow_whitespace_only_pieces", "true"},
       {"split_digits", "true"},
       {"input_sentence_size", std::to_string(kSampledLines)},
       {"shuffle_input_sentence", "true"},
       {"max_sentence_length", std::to_string(kLongestLine)},
       {"minloglevel", "3"}},
      &lines, &model);
  if (!status.ok()) {
    const auto why = status.ToString();
    const bool small = why.find("smaller than required_chars") != std::string::npos;
    throw UserError("sentencepiece cannot train " + std::to_string(vocabulary) + " pieces on this text: give " +
                    (small ? "a larger --vocab" : "more text or a smaller --vocab") + " (" + why + ")");
  }
  return model;
}

}  // namespace accordion
