#include "data/tokenizer_json.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "data/utf8.h"

namespace accordion {
namespace {

/// Tables are as long as the largest id. No tokenizer has a million tokens; a damaged file may name any number.
constexpr int64_t kMostIds = int64_t{1} << 20;

int32_t token_id(const nlohmann::json& id, const std::string& where) {
  const auto number = id.is_number_integer() ? id.get<int64_t>() : -1;
  if (number < 0 || number >= kMostIds || (id.is_number_unsigned() && id.get<uint64_t>() >= uint64_t{kMostIds}))
    throw UserError(where + ": " + json_text(id) + " is no token id: a whole number below " + std::to_string(kMostIds) +
                    "; the file is damaged");
  return static_cast<int32_t>(number);
}

// GPT-2's pattern, which ByteLevel uses where `use_regex` is not false.
constexpr char kByteLevelPattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kSpaceMark[] = "\u2581";

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// The byte that each character of a byte-level vocabulary stands for (GPT-2: printable bytes are themselves, the
/// others are numbered from U+0100); -1 = none.
std::array<int, 0x144> byte_of_character() {
  std::array<int, 0x144> bytes;
  bytes.fill(-1);
  size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    bytes[printable ? static_cast<size_t>(byte) : next++] = byte;
  }
  return bytes;
}

/// The bytes that a byte-level token stands for; none where a character stands for no byte.
std::optional<std::string> raw_bytes(std::string_view token) {
  static const auto bytes = byte_of_character();
  std::string raw;
  for (size_t at = 0; at < token.size();) {
    const auto character = next_character(token, at);
    if (character >= bytes.size() || bytes[character] < 0) return {};
    raw.push_back(static_cast<char>(bytes[character]));
  }
  return raw;
}

/// What a token of a sentencepiece-like vocabulary stands for.
std::string marked_bytes(const std::string& token) {
  if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>')
    return std::string(1, static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16)));
  std::string text;
  for (size_t at = 0; at < token.size();) {
    const auto character = next_character(token, at);
    append_character(text, character == 0x2581 ? U' ' : character);
  }
  return text;
}

std::string escaped_pattern(const std::string& literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view("\\^$.[]|()?*+{}").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace

JsonTokenizer::JsonTokenizer(const nlohmann::json& description, const std::string& where) try {
  if (!description.is_object() || !description.contains("model"))
    throw UserError(where + ": not a tokenizer.json of Hugging Face (no 'model')");
  normalizer_ = Normalizer(description.value("normalizer", nlohmann::json()), where);
  read_pre_tokenizer(description.value("pre_tokenizer", nlohmann::json()), where);
  read_model(description["model"], where);
  read_added_tokens(description.value("added_tokens", nlohmann::json::array()), where);
  read_decoder(description.value("decoder", nlohmann::json()));
  frame_ = read_frame(description.value("post_processor", nlohmann::json()),
                      [this](const std::string& token) { return id_of(token); });
} catch (const nlohmann::json::exception& error) {
  throw UserError(where + ": not a tokenizer.json of Hugging Face: " + error.what());
}

void JsonTokenizer::read_model(const nlohmann::json& model, const std::string& where) {
  const auto type = model.value("type", model.contains("merges") ? "BPE" : "unnamed");
  if (type != "BPE")
    throw UserError(where + ": its model is '" + type +
                    "', and only BPE is supported; use the family's sentencepiece .model where it has one");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (model.contains(key) && model[key].is_string() && !model[key].get<std::string>().empty())
      throw UserError(where + ": model." + key + " is not supported; use a byte-level BPE");
  if (model.contains("dropout") && model["dropout"].is_number() && model["dropout"].get<double>() > 0)
    throw UserError(where + ": model.dropout is not supported; set it to null");

  StringMap<int32_t> reachable;  // by the text that reaches the merges
  for (const auto& [token, id] : model.at("vocab").items()) {
    const auto number = token_id(id, where);
    ids_[token] = number;
    if (!byte_level_)
      reachable[token] = number;
    else if (auto raw = raw_bytes(token))
      reachable[*raw] = number;
  }
  Bpe::Options options;
  options.alphabet = byte_level_ ? Bpe::Alphabet::bytes : Bpe::Alphabet::characters;
  options.ignore_merges = model.value("ignore_merges", false);
  options.byte_fallback = model.value("byte_fallback", false);
  options.fuse_unknown = model.value("fuse_unk", false);
  if (model.contains("unk_token") && model["unk_token"].is_string())
    options.unknown = static_cast<int32_t>(id_of(model["unk_token"].get<std::string>()).value_or(-1));
  bpe_ = Bpe(std::move(reachable), options);
  int32_t rank = 0;
  for (const auto& merge : model.at("merges")) {
    // Both spellings: "left right", and ["left", "right"] of newer files.
    const auto text = merge.is_string() ? merge.get<std::string>()
                                        : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>();
    const size_t space = merge.is_string() ? text.find(' ') : merge[0].get_ref<const std::string&>().size();
    const auto part = [&](std::string token) { return byte_level_ ? raw_bytes(token) : std::optional(token); };
    const auto left = part(text.substr(0, space)), right = part(text.substr(std::min(space, text.size() - 1) + 1));
    if (space == std::string::npos || !left || !right || !bpe_.add_merge(*left, *right, rank++))
      throw UserError(where + ": the merge '" + text + "' is not of its vocabulary: the file is damaged");
  }
}

void JsonTokenizer::read_added_tokens(const nlohmann::json& tokens, const std::string& where) {
  int64_t largest = -1;
  for (const auto& [token, id] : ids_) largest = std::max<int64_t>(largest, id);
  for (const auto& token : tokens) largest = std::max<int64_t>(largest, token_id(token.at("id"), where));
  bytes_of_.resize(static_cast<size_t>(largest + 1));
  special_.resize(bytes_of_.size());
  for (const auto& [token, id] : ids_) {
    const auto raw = byte_level_ ? raw_bytes(token) : std::nullopt;
    bytes_of_[static_cast<size_t>(id)] = raw ? *raw : byte_level_ ? token : marked_bytes(token);
  }
  for (const auto& token : tokens) {
    auto content = token.at("content").get<std::string>();
    const auto id = token_id(token.at("id"), where);
    if (token.value("single_word", false))
      throw UserError(where + ": added token '" + content + "' is marked single_word, which is not supported");
    ids_[content] = id;
    bytes_of_[static_cast<size_t>(id)] = content;
    special_[static_cast<size_t>(id)] = token.value("special", false);
    const bool normalized = token.value("normalized", true);
    if (normalized) content = normalizer_(content);
    if (content.empty()) continue;
    (normalized ? added_normalized_ : added_raw_)
        .add({content, id, token.value("lstrip", false), token.value("rstrip", false)});
  }
}

void JsonTokenizer::read_pre_tokenizer(const nlohmann::json& description, const std::string& where) {
  if (description.is_null()) return;
  const auto type = description.at("type").get<std::string>();
  if (byte_level_ || !space_mark_.empty())
    throw UserError(where + ": pre-tokenizer '" + type + "' after ByteLevel or Metaspace is not supported");
  if (type == "Sequence") {
    for (const auto& part : description.at("pretokenizers")) read_pre_tokenizer(part, where);
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    if (description.value("add_prefix_space", true)) stages_.emplace_back();
    if (description.value("use_regex", true)) stages_.emplace_back(Split(Regex(kByteLevelPattern, where)));
  } else if (type == "Digits") {
    stages_.emplace_back(Split(Regex(description.value("individual_digits", false) ? "\\p{N}" : "\\p{N}+", where)));
  } else if (type == "Split") {
    const auto& pattern = description.at("pattern");
    const auto name = description.at("behavior").get<std::string>();
    const auto behavior = Split::behavior_of(name);
    if (!behavior) throw UserError(where + ": Split with behavior '" + name + "' is not supported");
    const auto text = pattern.contains("Regex") ? pattern["Regex"].get<std::string>()
                                                : escaped_pattern(pattern.at("String").get<std::string>());
    stages_.emplace_back(Split(Regex(text, where), *behavior, description.value("invert", false)));
  } else if (type == "Metaspace") {
    if (!stages_.empty()) throw UserError(where + ": pre-tokenizer 'Metaspace' after another is not supported");
    space_mark_ = description.value("replacement", kSpaceMark);
    const auto scheme =
        description.value("prepend_scheme", description.value("add_prefix_space", true) ? "always" : "never");
    prepend_ = scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
    if (description.value("split", true))
      stages_.emplace_back(Split(Regex(escaped_pattern(space_mark_), where), Split::Behavior::merged_with_next));
  } else {
    throw UserError(where + ": pre-tokenizer '" + type +
                    "' is not supported; use a tokenizer with ByteLevel, Split, Digits or Metaspace");
  }
}

void JsonTokenizer::read_decoder(const nlohmann::json& description) {
  if (description.is_null()) return;
  const auto type = description.value("type", "");
  if (type == "Sequence")
    for (const auto& part : description.at("decoders")) read_decoder(part);
  if (type == "Strip")
    strip_first_space_ = description.value("content", "") == " " && description.value("start", 0) > 0;
  if (type == "Metaspace")
    strip_first_space_ = description.value("prepend_scheme",
                                           description.value("add_prefix_space", true) ? "always" : "never") != "never";
}

std::optional<int64_t> JsonTokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return {};
  return found->second;
}

std::string JsonTokenizer::name_of(int64_t id) const {
  for (const auto& [name, other] : ids_)
    if (other == id) return name;
  return "";
}

void JsonTokenizer::make_special(int64_t id) {
  if (is_special(id)) return;
  special_[static_cast<size_t>(id)] = true;
  added_raw_.add({name_of(id), static_cast<int32_t>(id), false, false});
}

void JsonTokenizer::encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
  size_t at = 0;
  const auto part = [&](size_t end) {
    if (end <= at) return;
    const auto raw = text.substr(at, end - at);
    if (normalizer_.empty()) return encode_normalized(raw, at == 0, cache, ids);
    encode_normalized(normalizer_(raw), at == 0, cache, ids);
  };
  for (size_t from = 0; const auto match = added_raw_.find(text, from, at);) {
    part(match->begin);
    ids.push_back(match->id);
    at = match->end;
    from = match->next;
  }
  part(text.size());
}

void JsonTokenizer::encode_normalized(std::string_view text, bool first, WordCache& cache,
                                      std::vector<int32_t>& ids) const {
  size_t at = 0;
  const auto part = [&](size_t end) {
    if (end > at) encode_segment(text.substr(at, end - at), first && at == 0, cache, ids);
  };
  for (size_t from = 0; const auto match = added_normalized_.find(text, from, at);) {
    part(match->begin);
    ids.push_back(match->id);
    at = match->end;
    from = match->next;
  }
  part(text.size());
}

void JsonTokenizer::encode_segment(std::string_view text, bool first, WordCache& cache,
                                   std::vector<int32_t>& ids) const {
  if (space_mark_.empty()) return encode_from(0, text, cache, ids);
  std::string marked;
  const bool prepends = prepend_ == Prepend::always || (prepend_ == Prepend::first && first);
  if (prepends && !text.starts_with(' ') && !text.starts_with(space_mark_)) marked = space_mark_;
  for (const char c : text) c == ' ' ? marked += space_mark_ : marked += c;
  encode_from(0, marked, cache, ids);
}

void JsonTokenizer::encode_from(size_t stage, std::string_view text, WordCache& cache,
                                std::vector<int32_t>& ids) const {
  if (stage == stages_.size())
    return stages_.empty() ? bpe_.encode_text(text, cache, ids) : bpe_.encode(text, cache, ids);
  const auto next = [&](std::string_view piece) { encode_from(stage + 1, piece, cache, ids); };
  const auto& split = stages_[stage];
  if (split) return (*split)(text, next);
  next(text.starts_with(' ') ? text : std::string_view(" " + std::string(text)));
}

bool JsonTokenizer::safe_to_cut() const {
  const auto reaches_over = [](const std::string& token) {
    for (size_t at = 1; at < token.size(); ++at)
      if (token[at] == ' ' && std::isalpha(static_cast<unsigned char>(token[at - 1]))) return true;
    return false;
  };
  return normalizer_.safe_to_cut() && std::none_of(bytes_of_.begin(), bytes_of_.end(), reaches_over) &&
         std::all_of(stages_.begin(), stages_.end(), [](const auto& split) { return !split || split->safe_to_cut(); });
}

std::string JsonTokenizer::decode(const std::vector<int64_t>& ids) const {
  std::string text;
  for (const auto id : ids)
    if (id >= 0 && id < vocabulary() && !special_[static_cast<size_t>(id)]) text += bytes_of_[static_cast<size_t>(id)];
  if (strip_first_space_ && text.starts_with(' ')) text.erase(0, 1);
  repair_utf8(text);
  return text;
}

void AddedTokens::add(Token token) {
  uint32_t node = 0;
  for (const char byte : token.content) {
    const auto [entry, fresh] = nodes_[node].next.try_emplace(byte, static_cast<uint32_t>(nodes_.size()));
    node = entry->second;
    if (fresh) nodes_.emplace_back();
  }
  starts_[static_cast<unsigned char>(token.content[0])] = true;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from, size_t taken) const {
  if (tokens_.empty()) return {};
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    uint32_t node = 0;
    int32_t longest = -1;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto next = nodes_[node].next.find(text[at]);
      if (next == nodes_[node].next.end()) break;
      node = next->second;
      if (nodes_[node].token >= 0) longest = nodes_[node].token;
    }
    if (longest < 0) continue;
    const auto& token = tokens_[static_cast<size_t>(longest)];
    Match match{begin, begin + token.content.size(), begin + token.content.size(), token.id};
    while (token.strip_left && match.begin > taken) {
      size_t start = match.begin - 1;
      while (start > taken && (text[start] & 0xC0) == 0x80) --start;
      size_t at = start;
      if (!is_space(next_character(text, at))) break;
      match.begin = start;
    }
    while (token.strip_right && match.end < text.size()) {
      size_t at = match.end;
      if (!is_space(next_character(text, at))) break;
      match.end = at;
    }
    return match;
  }
  return {};
}

}  // namespace accordion
