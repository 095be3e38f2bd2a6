#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace accordion {

/// A sentencepiece model in the format of Hugging Face's `tokenizers`.
struct SentencePieceAsJson {
  std::string content;                   ///< of a tokenizer.json; empty where that format cannot hold the model
  std::vector<std::string> differences;  ///< kinds of text whose ids differ there, or why there is no content
};

/// The tokenizer.json that gives the ids of the sentencepiece `.model` whose content is `file`: a model of BPE (merges
/// are recovered from the pieces: each way to make a piece of two others, by the piece's score), of single characters,
/// or Unigram; the normalizer's character map, its spaces, and pieces defined by the user. Control pieces (<s>, </s>)
/// stay ordinary names of the vocabulary: the library never makes them of text, and an added token would be found
/// there. O(bytes of all pieces x their length).
SentencePieceAsJson sentencepiece_as_json(std::string_view file);

}  // namespace accordion
