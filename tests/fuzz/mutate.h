#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

/// Seeded damage to files: of bytes, and of what the bytes mean.
namespace accordion::fuzz {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  size_t below(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(engine_); }
  bool one_in(size_t count) { return below(count) == 0; }
  template <class Value>
  const Value& of(const std::vector<Value>& values) {
    return values[below(values.size())];
  }

 private:
  std::mt19937_64 engine_;
};

/// Numbers at which arithmetic goes wrong, of so many bytes, little endian.
inline std::string hostile_number(Random& random, size_t bytes) {
  static const std::vector<uint64_t> numbers{0,          1,          2,          255,        256,        65535,
                                             65536,      0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ULL << 32, 1ULL << 40,
                                             1ULL << 62, ~0ULL / 2,  1ULL << 63, ~0ULL};
  const uint64_t number = random.of(numbers) + (random.one_in(4) ? random.below(16) : 0);
  return std::string(reinterpret_cast<const char*>(&number), bytes);
}

/// One to a few changes of bytes: flipped bits, numbers, pieces taken out, doubled or moved, the end cut off.
inline std::string damaged_bytes(std::string bytes, Random& random) {
  for (size_t changes = 1 + random.below(4); changes > 0; --changes) {
    if (bytes.empty()) bytes = std::string(1 + random.below(64), static_cast<char>(random.below(256)));
    const size_t at = random.one_in(2) ? random.below(std::min<size_t>(bytes.size(), 64)) : random.below(bytes.size());
    const size_t length = std::min(bytes.size() - at, 1 + random.below(random.one_in(4) ? bytes.size() : 16));
    switch (random.below(7)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        break;
      case 1: {
        const auto number = hostile_number(random, size_t{1} << random.below(4));
        bytes.replace(at, std::min(number.size(), bytes.size() - at), number);
        break;
      }
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(random.below(bytes.size()), bytes.substr(at, length));
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5:
        bytes.insert(at, std::string(length, static_cast<char>(random.below(256))));
        break;
      default:
        bytes[at] = static_cast<char>(random.below(256));
    }
  }
  return bytes;
}

/// A value that a reader may not expect, or a part of the document itself.
inline nlohmann::json hostile_value(const nlohmann::json& document, Random& random) {
  using nlohmann::json;
  switch (random.below(12)) {
    case 0:
      return nullptr;
    case 1:
      return random.one_in(2);
    case 2:
      return random.of(
          std::vector<int64_t>{0, -1, 1, 2, 3, 255, 65536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1LL << 40});
    case 3:
      return UINT64_MAX - random.below(2);
    case 4:
      return random.of(std::vector<double>{0.5, -0.0, 1e-320, 1e308, -1e308, 3e9, 1e19});
    case 5:
      return random.of(
          std::vector<std::string>{"", " ", "0", "null", "../x", std::string("a\0b", 3), "\n", "<s>", "[", "\\"});
    case 6:
      return std::string(1 + random.below(70000), 'x');
    case 7:
      return json::array();
    case 8:
      return json::object();
    case 9: {
      json deep = 1;
      for (size_t i = random.below(200); i > 0; --i) deep = random.one_in(2) ? json{deep} : json{{"a", deep}};
      return deep;
    }
    case 10:
      return json(std::vector<int64_t>(random.below(2000), static_cast<int64_t>(random.below(5)) - 1));
    default:
      return document;
  }
}

/// The places in a document, the root first. Big lists are entered at some of their places only.
inline void collect(nlohmann::json& node, std::vector<nlohmann::json*>& places, Random& random) {
  places.push_back(&node);
  if (!node.is_structured()) return;
  for (auto& child : node)
    if (node.size() < 64 || random.one_in(node.size() / 32)) collect(child, places, random);
}

/// A few changes of a JSON document: values replaced, members taken away, renamed or put elsewhere.
inline std::string damaged_json(nlohmann::json document, Random& random) {
  for (size_t changes = 1 + random.below(3); changes > 0; --changes) {
    std::vector<nlohmann::json*> places;
    collect(document, places, random);
    auto& place = *random.of(places);
    if (place.is_structured() && !place.empty() && random.one_in(2)) {
      auto member = place.begin();
      std::advance(member, static_cast<std::ptrdiff_t>(random.below(place.size())));
      if (random.one_in(3) && place.is_object()) {
        place[random.of(std::vector<std::string>{"", "x", "type", "weight"})] = *member;
      } else {
        place.erase(member);
      }
    } else {
      place = hostile_value(random.one_in(8) ? document : nlohmann::json(*random.of(places)), random);
    }
  }
  auto text = document.dump(random.one_in(2) ? -1 : 1, ' ', false, nlohmann::json::error_handler_t::replace);
  return random.one_in(8) ? damaged_bytes(std::move(text), random) : text;
}

/// A few changes of a text of lines such as YAML: lines doubled, taken away, moved in, and words replaced.
inline std::string damaged_lines(const std::string& text, Random& random) {
  static const std::vector<std::string> words{
      "-1",  "0",  "1e400", "nan",     "null",  "~",   "{}", "[]", "''",  "true",   "1e308", "99999999999999999999",
      "16k", "*a", "&a x",  "!!int x", "{a: 1", "- -", ":",  "\t", "0.5", "[1, 2]", "bytes", "\xFF"};
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  for (size_t changes = 1 + random.below(3); changes > 0 && !lines.empty(); --changes) {
    const size_t at = random.below(lines.size());
    auto& line = lines[at];
    switch (random.below(6)) {
      case 0:
        lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), lines[random.below(lines.size())]);
        break;
      case 1:
        lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 2:
        line = "  " + line;
        break;
      default: {  // a word after a colon, a comma, a brace or at the line's start
        std::vector<size_t> starts;
        for (size_t i = 0; i < line.size(); ++i)
          if (line[i] != ' ' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '{' || line[i - 1] == '['))
            starts.push_back(i);
        if (starts.empty()) break;
        const size_t start = random.of(starts), end = std::min(line.find_first_of(",]} ", start), line.size());
        line.replace(start, end - start, random.of(words));
      }
    }
  }
  std::string made;
  for (const auto& line : lines) made += line + "\n";
  return random.one_in(8) ? damaged_bytes(std::move(made), random) : made;
}

}  // namespace accordion::fuzz
