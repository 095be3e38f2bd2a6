#include "data/sentencepiece_json.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json.h"
#include "data/bpe.h"
#include "data/character_map.h"
#include "data/sentencepiece_proto.h"
#include "data/utf8.h"

namespace accordion {
namespace {

using json = nlohmann::ordered_json;

constexpr char kSpaceMark[] = "\u2581";

std::string in_quotes(const std::string& text) { return json_text(json(text)); }

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> result;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    next_character(text, at);
    result.emplace_back(text.substr(start, at - start));
  }
  return result;
}

/// A pattern that matches any of the texts, the longest where several begin at one place.
std::string any_of(std::vector<std::string> texts) {
  std::stable_sort(texts.begin(), texts.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::string pattern;
  for (const auto& text : texts) {
    if (!pattern.empty()) pattern += '|';
    for (const char c : text) {
      if (std::string_view("\\^$.[]|()?*+{}-&~#").find(c) != std::string_view::npos) pattern += '\\';
      pattern += c;
    }
  }
  return pattern;
}

json split(const std::string& pattern, const char* behavior) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", false}};
}

json replace(const char* kind, const std::string& pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

/// One conversion.
class Converter {
 public:
  explicit Converter(std::string_view file) : model_(file) {
    for (size_t id = 0; id < model_.pieces.size(); ++id) {
      const auto& piece = model_.pieces[id];
      const bool found_in_text = piece.type == SentencePiece::normal || piece.type == SentencePiece::user_defined;
      if (piece.type == SentencePiece::user_defined) symbols_.push_back(piece.text);
      if (piece.type == SentencePiece::unknown) unknown_ = static_cast<int32_t>(id);
      if (found_in_text)
        vocabulary_[piece.text] = static_cast<int32_t>(id);
      else
        reserved_.push_back(piece.text);
    }
  }

  SentencePieceAsJson convert() {
    if (const auto why = obstacle(); !why.empty()) return {"", {why}};
    const bool unigram = model_.kind == SentencePieceProto::unigram;
    const auto model = unigram ? unigram_model() : bpe_model();  // before the pre-tokenizer, which it decides
    std::string content = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[]";
    content += ",\"normalizer\":" + json_text(normalizer()) + ",\"pre_tokenizer\":" + json_text(pre_tokenizer_);
    content += ",\"post_processor\":null,\"decoder\":" + json_text(decoder()) + ",\"model\":" + model + "}\n";
    return {content, differences_};
  }

 private:
  /// Why the format cannot hold the model; empty where it can.
  std::string obstacle() const {
    if (model_.kind == SentencePieceProto::word) return "a model of whole words";
    if (!model_.escapes_spaces) return "spaces stay spaces in it";
    if (model_.suffix_mark) return "its words end with their space";
    if (unknown_ < 0) return "it has no unknown piece";
    std::set<std::string_view> seen;
    for (const auto& piece : model_.pieces) {
      if (piece.text.empty() || piece.text.find(' ') != std::string::npos) return "a piece is empty or holds a space";
      if (!std::isfinite(piece.score)) return "the score of a piece is not finite";
      if (!seen.insert(piece.text).second) return "a piece stands in it twice";
    }
    return "";
  }

  /// What the library's normalizer does (Normalizer::Normalize): the character map, spaces, the mark of the beginning.
  json normalizer() {
    json steps = json::array();
    if (!model_.character_map.empty()) {
      const CharacterMap map(model_.character_map);
      // `tokenizers` applies the map to graphemes and would make one character of these two.
      if (map.find("\r") && map.find("\r") == map.find("\n")) steps.push_back(replace("String", "\r\n", "\n\n"));
      steps.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", base64(model_.character_map)}});
      differences_.push_back("several combining marks on one character, or decomposed Hangul");
      const auto changes = [&](const std::string& character) { return map.find(character).has_value(); };
      for (const auto& symbol : symbols_)
        if (const auto all = characters(symbol); std::any_of(all.begin(), all.end(), changes))
          differences_.push_back("the user's piece " + in_quotes(symbol) + ", which the character map changes");
    }
    if (model_.removes_spaces) {
      steps.push_back(replace("Regex", std::string("\\A +|[ ") + kSpaceMark + "]+\\z", ""));
      steps.push_back(replace("Regex", " {2,}", " "));
      for (const auto& symbol : symbols_)
        if (symbol.find(kSpaceMark) != std::string::npos)
          differences_.push_back("the user's piece " + in_quotes(symbol) + ", whose spaces are removed");
    }
    if (model_.dummy_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
    steps.push_back(replace("String", " ", kSpaceMark));
    return {{"type", "Sequence"}, {"normalizers", steps}};
  }

  json decoder() const {
    json steps = {replace("String", kSpaceMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
    if (model_.dummy_prefix) steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    return {{"type", "Sequence"}, {"decoders", steps}};
  }

  bool known(const std::string& character) const { return vocabulary_.contains(character); }

  std::string bpe_model() {
    std::string vocabulary;
    for (size_t id = 0; id < model_.pieces.size(); ++id) {
      if (id > 0) vocabulary += ',';
      vocabulary += in_quotes(model_.pieces[id].text) + ":" + std::to_string(id);
      if (model_.pieces[id].type == SentencePiece::unused && model_.kind == SentencePieceProto::bpe)
        differences_.push_back("the unused piece " + in_quotes(model_.pieces[id].text));
    }
    std::string merges;
    if (model_.kind == SentencePieceProto::bpe) {
      for (const auto& merge : all_merges()) {
        if (!merges.empty()) merges += ',';
        merges += in_quotes(merge.left + " " + merge.right);
      }
    }
    isolate_symbols();
    const json head = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", model_.pieces[static_cast<size_t>(unknown_)].text},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", true},
                       {"byte_fallback", model_.byte_fallback},
                       {"ignore_merges", whole_symbols_}};
    auto text = json_text(head);
    text.pop_back();
    return text + ",\"vocab\":{" + vocabulary + "},\"merges\":[" + merges + "]}";
  }

  struct Merge {
    float score;
    std::string left, right;
  };
  /// Every way to make a piece of two others. The library merges to the piece of the highest score, leftmost among
  /// equals. Of the ways to one piece only one ever comes about, so their order among themselves does not matter.
  std::vector<Merge> all_merges() {
    std::vector<Merge> merges;
    std::map<float, std::vector<std::string>, std::greater<>> pieces;  // by score, those that come of merges
    bool unknown = false;
    Bpe::Options options;
    options.alphabet = Bpe::Alphabet::characters;
    options.unknown = unknown_;
    bpe_ = Bpe(vocabulary_, options);
    for (const auto& piece : model_.pieces) {
      if (piece.type != SentencePiece::normal) continue;
      const size_t before = merges.size();
      const std::string_view text = piece.text;
      for (size_t at = 0; next_character(text, at), at < text.size();) {
        const std::string left(text.substr(0, at)), right(text.substr(at));
        if (known(left) && known(right))
          merges.push_back({piece.score, left, right});
        else
          unknown = unknown || (characters(left).size() == 1 && !known(left)) ||
                    (characters(right).size() == 1 && !known(right));
      }
      if (merges.size() > before) pieces[piece.score].push_back(piece.text);
    }
    std::stable_sort(merges.begin(), merges.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
    for (size_t rank = 0; rank < merges.size(); ++rank)
      bpe_.add_merge(merges[rank].left, merges[rank].right, static_cast<int32_t>(rank));
    check_equals(merges, pieces);
    if (unknown) differences_.push_back("pieces with a character that is no piece itself");
    return merges;
  }

  /// Among pieces of equal score the library takes the leftmost, `tokenizers` the first of its list. For runs of one
  /// character (Llama's of spaces) that comes to the same mostly: tried for all lengths until they repeat.
  void check_equals(const std::vector<Merge>& merges,
                    const std::map<float, std::vector<std::string>, std::greater<>>& pieces) {
    Bpe leftmost(vocabulary_, {.alphabet = Bpe::Alphabet::characters, .unknown = unknown_});
    WordCache cache;
    std::map<float, int32_t, std::greater<>> ranks;
    for (const auto& [score, texts] : pieces) ranks.emplace(score, static_cast<int32_t>(ranks.size()));
    for (const auto& merge : merges) leftmost.add_merge(merge.left, merge.right, ranks[merge.score]);
    for (const auto& [score, texts] : pieces) {
      if (texts.size() < 2) continue;
      const auto unit = characters(texts.front()).front();
      std::string run;
      bool same = std::all_of(texts.begin(), texts.end(), [&](const auto& text) {
        const auto all = characters(text);
        return std::count(all.begin(), all.end(), unit) == static_cast<std::ptrdiff_t>(all.size());
      });
      for (size_t n = 0; same && n < 8 * texts.size(); ++n) {
        run += unit;
        same = merged(bpe_, cache_, run) == merged(leftmost, cache, run);
      }
      if (!same)
        differences_.push_back("pieces of equal score, such as " + in_quotes(texts[0]) + " and " + in_quotes(texts[1]));
    }
  }

  static std::vector<int32_t> merged(const Bpe& bpe, WordCache& cache, const std::string& text) {
    std::vector<int32_t> ids;
    bpe.encode(text, cache, ids);
    return ids;
  }

  /// A beginning of the name where a cut changes nothing: the merges leave a border there, and it does not part two
  /// unknown characters, which become one token where they are not bytes. Empty where there is none.
  std::string head_of(const std::string& name) const {
    const auto ids = model_.kind == SentencePieceProto::bpe ? merged(bpe_, cache_, name) : std::vector<int32_t>();
    const auto character_at = [&](size_t at) {
      const size_t start = at;
      next_character(name, at);
      return name.substr(start, at - start);
    };
    for (size_t at = 0, token = 0; at < name.size(); ++token) {
      const bool one = token >= ids.size() || ids[token] == unknown_;
      const bool left = !one || known(character_at(at));
      at += one ? character_at(at).size() : model_.pieces[static_cast<size_t>(ids[token])].text.size();
      if (at < name.size() && (model_.byte_fallback || left || known(character_at(at)))) return name.substr(0, at);
    }
    return "";
  }

  /// The user's pieces are cut out before anything is merged, and are whole words then. So would be a reserved name
  /// that alone stands between two of them: that is cut where it makes no difference.
  void isolate_symbols() {
    if (symbols_.empty()) return;
    auto pattern = any_of(symbols_);
    whole_symbols_ =
        std::any_of(symbols_.begin(), symbols_.end(), [](const auto& s) { return characters(s).size() > 1; });
    if (whole_symbols_) {
      const auto between = pattern;
      std::string heads;
      for (const auto& name : reserved_) {
        const auto head = head_of(name);
        if (!head.empty())
          heads += (heads.empty() ? "" : "|") + any_of({head}) + "(?=" + any_of({name.substr(head.size())}) + ")";
        else if (characters(name).size() > 1)
          differences_.push_back("the name " + in_quotes(name) + ", of unknown characters");
      }
      if (!heads.empty())
        pattern += "|(?<=\\A|" + between + ")(?=(?:" + any_of(reserved_) + ")(?:\\z|" + between + "))(?:" + heads + ")";
      for (const auto& piece : model_.pieces)
        if (piece.type == SentencePiece::normal && model_.kind == SentencePieceProto::bpe &&
            merged(bpe_, cache_, piece.text).size() != 1)
          differences_.push_back("the piece " + in_quotes(piece.text) + ", to which no merges lead");
    }
    pre_tokenizer_ = split(pattern, "Isolated");
  }

  /// Scores as the library sees them (unigram_model.cc): a piece of the user's gets more than its parts could.
  /// `tokenizers` would find reserved names in a text, so their score must lose against all their characters.
  std::string unigram_model() {
    double smallest = 0, largest = -1e30;
    size_t longest = 0;
    for (const auto& piece : model_.pieces) {
      longest = std::max(longest, piece.text.size());
      if (piece.type != SentencePiece::normal) continue;
      smallest = std::min(smallest, static_cast<double>(piece.score));
      largest = std::max(largest, static_cast<double>(piece.score));
    }
    const double never = std::floor(2 * smallest * static_cast<double>(longest)) - 10;
    std::string vocabulary;
    for (const auto& piece : model_.pieces) {
      double score = piece.score;
      if (piece.type == SentencePiece::user_defined)
        score = static_cast<float>(
            static_cast<double>(static_cast<float>(piece.text.size()) * static_cast<float>(largest)) - 0.1);
      else if (piece.type != SentencePiece::normal)
        score = never;
      vocabulary += (vocabulary.empty() ? "[" : ",[") + in_quotes(piece.text) + "," + json_text(json(score)) + "]";
    }
    split_reserved_names();
    for (const auto& [text, id] : vocabulary_) {
      const auto all = characters(text);
      if (!std::all_of(all.begin(), all.end(), [&](const auto& c) { return known(c); }))
        differences_.push_back("the piece " + in_quotes(text) + ", with a character that is no piece itself");
    }
    std::sort(differences_.begin(), differences_.end());
    return "{\"type\":\"Unigram\",\"unk_id\":" + std::to_string(unknown_) + ",\"vocab\":[" + vocabulary +
           "],\"byte_fallback\":" + (model_.byte_fallback ? "true" : "false") + "}";
  }

  /// Against unknown characters a name would win all the same: it is cut between a known and an unknown one of its
  /// characters, which no piece joins.
  void split_reserved_names() {
    std::string pattern;
    for (const auto& name : reserved_) {
      const auto all = characters(name);
      const auto first = all.empty() ? false : known(all.front());
      const auto other = std::find_if(all.begin(), all.end(), [&](const auto& c) { return known(c) != first; });
      if (other == all.end() && first) continue;
      if (other == all.end()) {
        if (all.size() > 1) differences_.push_back("the name " + in_quotes(name) + ", of unknown characters");
        continue;
      }
      std::string head, tail;
      for (auto at = all.begin(); at != all.end(); ++at) (at < other ? head : tail) += *at;
      pattern += (pattern.empty() ? "" : "|") + any_of({head}) + "(?=" + any_of({tail}) + ")";
    }
    if (!pattern.empty()) pre_tokenizer_ = split(pattern, "MergedWithPrevious");
  }

  static std::string base64(std::string_view bytes) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
      uint32_t group = 0;
      for (size_t i = 0; i < 3; ++i)
        group = group << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
      for (size_t i = 0; i < 4; ++i) text += at + i > bytes.size() ? '=' : kDigits[group >> (18 - 6 * i) & 63];
    }
    return text;
  }

  SentencePieceProto model_;
  StringMap<int32_t> vocabulary_;                // of the pieces that text can become: the others are reserved
  std::vector<std::string> symbols_, reserved_;  // of the user; names
  int32_t unknown_ = -1;
  Bpe bpe_;
  mutable WordCache cache_;  // of its words
  bool whole_symbols_ = false;
  json pre_tokenizer_ = nullptr;
  std::vector<std::string> differences_;
};

}  // namespace

SentencePieceAsJson sentencepiece_as_json(std::string_view file) { return Converter(file).convert(); }

}  // namespace accordion
