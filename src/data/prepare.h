#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/text_format.h"

namespace accordion {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files, folders, shell patterns
  std::string tokenizer;            // see Tokenizer::load
  std::string end_of_text;          // a token or its id; empty = as the tokenizer's files say
  std::string out;
  double validation = 0.01;  // share of the documents
  std::string text_field = "text";
  std::string glob;  // of the files in folders
  InputKind input_kind = InputKind::automatic;
  int64_t split = 0;  // > 0: two corpora, out/short of the documents below this length and out/long of the others
  int workers = 1;
};

/// Called now and then with the bytes of input read, their total, and the tokens made so far.
using PrepareProgress = std::function<void(double bytes, double total, int64_t tokens)>;

/// Makes a corpus of text: each file of plain text, or each object of a JSON file, is a document that ends with the
/// end-of-text token; documents lie in the order of sorted paths, then of the file, whatever the number of workers.
/// Memory does not grow with the text (but 4 bytes a document): some 1.5 MiB and a cache of 5 MiB a worker. `out`
/// appears whole or not at all. Returns what was made: {"documents", "tokens", "bytes", "damaged_utf8",
/// "empty_documents", "corpora": [manifest, ...], "end_of_text": which token ends the documents and who says so,
/// "notices": [...]}. UserError for missing, empty or damaged input (with file:line), and where `out` is something
/// other than a corpus.
nlohmann::json prepare(const PrepareOptions& options, const PrepareProgress& progress);

}  // namespace accordion
