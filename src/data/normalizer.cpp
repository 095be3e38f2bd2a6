#include "data/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "base/error.h"

namespace accordion {
namespace {

/// Whether the text is its own normal form at a glance: NFC changes nothing below U+0300 (0xCC in UTF-8), the others
/// nothing in ASCII.
bool normal_at_a_glance(std::string_view text, bool composed) {
  const unsigned char limit = composed ? 0xCC : 0x80;
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= limit) return false;
  return true;
}

void append_normal_form(std::string& out, std::string_view part, utf8proc_option_t options) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(part.data()),
                                 static_cast<utf8proc_ssize_t>(part.size()), &mapped, options);
  if (size < 0) throw std::runtime_error(std::string("utf8proc: ") + utf8proc_errmsg(size));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, std::free);
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
}

/// A normal form of the text, line by line: no character combines with a line feed.
std::string normal_form(std::string_view text, utf8proc_option_t options, bool composed) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const auto line = text.substr(at, end - at);
    if (normal_at_a_glance(line, composed)) {
      out.append(line);
    } else {
      append_normal_form(out, line, options);
    }
    at = end;
  }
  return out;
}

std::string replaced(std::string_view text, const std::string& pattern, const std::string& content) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t at = 0;;) {
    const size_t found = text.find(pattern, at);
    out.append(text.substr(at, found - at));
    if (found == std::string_view::npos) return out;
    out.append(content);
    at = found + pattern.size();
  }
}

std::string replaced(std::string_view text, const Regex& pattern, const std::string& content) {
  std::string out;
  size_t done = 0;
  const auto replace = [&](const Regex::Match& match) {
    out.append(text.substr(done, match.begin - done)).append(content);
    done = match.end;
  };
  pattern.each(text, replace, true);
  return out.append(text.substr(done));
}

}  // namespace

void Normalizer::add(const nlohmann::json& description, const std::string& where) {
  if (description.is_null()) return;
  const auto type = description.at("type").get<std::string>();
  if (type == "Sequence") {
    for (const auto& part : description.at("normalizers")) add(part, where);
  } else if (type == "NFC") {
    steps_.push_back({Kind::nfc, {}, {}, {}});
  } else if (type == "NFD") {
    steps_.push_back({Kind::nfd, {}, {}, {}});
  } else if (type == "NFKC") {
    steps_.push_back({Kind::nfkc, {}, {}, {}});
  } else if (type == "NFKD") {
    steps_.push_back({Kind::nfkd, {}, {}, {}});
  } else if (type == "Prepend") {
    steps_.push_back({Kind::prepend, {}, description.at("prepend").get<std::string>(), {}});
  } else if (type == "Replace" && !description.at("pattern").value("String", "").empty()) {
    steps_.push_back({Kind::replace,
                      description["pattern"]["String"].get<std::string>(),
                      description.at("content").get<std::string>(),
                      {}});
  } else if (type == "Replace" && description.at("pattern").contains("Regex")) {
    steps_.push_back({Kind::replace,
                      {},
                      description.at("content").get<std::string>(),
                      Regex(description["pattern"]["Regex"].get<std::string>(), where)});
  } else {
    throw UserError(where + ": normalizer '" + type +
                    "' is not supported; use a tokenizer with NFC, NFD, NFKC, NFKD, Prepend or Replace");
  }
}

bool Normalizer::safe_to_cut() const {
  return std::none_of(steps_.begin(), steps_.end(), [](const auto& step) { return step.regex.has_value(); });
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result(text);
  for (const auto& step : steps_) {
    const auto form = [&](int options, bool composed) {
      result = normal_form(result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | options), composed);
    };
    switch (step.kind) {
      case Kind::nfc:
        form(UTF8PROC_COMPOSE, true);
        break;
      case Kind::nfd:
        form(UTF8PROC_DECOMPOSE, false);
        break;
      case Kind::nfkc:
        form(UTF8PROC_COMPOSE | UTF8PROC_COMPAT, false);
        break;
      case Kind::nfkd:
        form(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, false);
        break;
      case Kind::prepend:
        if (!result.empty()) result.insert(0, step.content);
        break;
      case Kind::replace:
        result =
            step.regex ? replaced(result, *step.regex, step.content) : replaced(result, step.pattern, step.content);
        break;
    }
  }
  return result;
}

}  // namespace accordion
