#include "command/text_options.h"

namespace accordion {

void add_text_options(CLI::App& command, std::vector<std::string>& inputs, std::string& text_field, std::string& glob,
                      InputKind& kind) {
  command
      .add_option("INPUT", inputs,
                  "texts (a document each), JSON lines or an array of JSON objects (a document an object), also "
                  "compressed by gzip, zstd, xz or bzip2; folders; patterns")
      ->required();
  command.add_option("--text-field", text_field, "field of the text in a JSON object")->capture_default_str();
  command.add_option("--glob", glob,
                     "which files of a folder, as in '*.html'; default: .txt, .md, .rst, .jsonl, .ndjson, .json, also "
                     "compressed, and none that is hidden");
  command
      .add_option_function<std::string>(
          "--input-kind", [&kind](const std::string& word) { parse_name(word, kind); },
          "text: each file is a document, whatever it holds; jsonl: each JSON object; auto: what content and ending "
          "say")
      ->check(CLI::IsMember(all_names<InputKind>()))
      ->default_str(name_of(kind));
}

}  // namespace accordion
