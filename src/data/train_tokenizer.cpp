#include "data/train_tokenizer.h"

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "data/json_text.h"
#include "data/sentencepiece_model.h"
#include "data/text_input.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {

void train_tokenizer(const TrainTokenizerOptions& options, const std::function<void(double, double)>& progress) {
  const fs::path out = options.out;
  if (fs::exists(out) && !(fs::is_directory(out) && (fs::is_empty(out) || fs::exists(out / "tokenizer.model"))))
    throw UserError(out.string() +
                    ": holds something other than a tokenizer and would be replaced; give --out another folder");
  const auto files = find_texts(options.inputs, options.glob, options.input_kind);
  TextReader reader(files, true, false, options.input_kind);
  const auto next = [&](std::string& text) {
    const auto part = reader.next();
    if (!part) return false;
    int64_t damaged = 0;
    const bool blank = part->text.find_first_not_of(" \t\r\n") == std::string::npos;
    if (part->line > 0 && !blank) {
      text = text_of_line(part->text, options.text_field, files[part->file].string() + ":" + std::to_string(part->line),
                          damaged);
    } else {
      text = part->text;
      repair_utf8(text);
    }
    progress(reader.bytes_read(), reader.bytes_total());
    return true;
  };
  write_folder(out, [&](const fs::path& folder) {
    write_file(folder / "tokenizer.model", train_sentencepiece(next, options.vocabulary));
    Tokenizer::load(folder.string()).save(folder);
  });
}

}  // namespace accordion
