#include "data/train_tokenizer.h"

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"
#include "base/paths.h"
#include "base/stop.h"
#include "data/json_text.h"
#include "data/sentencepiece_model.h"
#include "data/text_input.h"
#include "data/tokenizer.h"
#include "data/tokenizer_files.h"
#include "data/utf8.h"

namespace fs = std::filesystem;

namespace accordion {

void train_tokenizer(const TrainTokenizerOptions& options, const std::function<void(double, double)>& progress) {
  const fs::path out = resolved(options.out);
  for (const auto& entry : content_of(out))
    if (!is_tokenizer_file(entry.filename().string()))
      throw UserError(options.out + ": holds something other than a tokenizer (" + entry.filename().string() +
                      ") and would be replaced; give --out another folder");
  check_replaceable(options.out);
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
  const auto model = train_sentencepiece(next, options.vocabulary);
  catch_stop_signals();  // so far nothing was written; from here on all of it will be
  write_folder(options.out, [&](const fs::path& folder) {
    write_file(folder / "tokenizer.model", model);
    Tokenizer::load(folder.string()).save(folder);
  });
}

}  // namespace accordion
