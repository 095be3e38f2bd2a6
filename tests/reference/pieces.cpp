// What a pattern makes of texts, for test_patterns.py: one JSON object a line in, one out.
//   {"split": PATTERN, "behavior", "invert", "texts"} -> {"pieces": [[piece, ...], ...]}
//   {"replace": PATTERN, "content", "texts"}          -> {"texts": [text, ...]}
// or {"refused": MESSAGE}.
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/normalizer.h"
#include "data/split.h"

namespace accordion {
namespace {

nlohmann::json answer(const nlohmann::json& question) try {
  auto all = nlohmann::json::array();
  if (question.contains("replace")) {
    const Normalizer replace(
        {{"type", "Replace"}, {"pattern", {{"Regex", question["replace"]}}}, {"content", question["content"]}}, "t");
    for (const auto& text : question["texts"]) all.push_back(replace(text.get<std::string>()));
    return {{"texts", all}};
  }
  const Split split(Regex(question["split"], "t"), Split::behavior_of(question["behavior"].get<std::string>()).value(),
                    question["invert"]);
  for (const std::string text : question["texts"]) {
    auto pieces = nlohmann::json::array();
    split(text, [&](std::string_view piece) { pieces.push_back(piece); });
    all.push_back(pieces);
  }
  return {{"pieces", all}};
} catch (const UserError& error) {
  return {{"refused", error.what()}};
}

}  // namespace
}  // namespace accordion

int main() {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << accordion::answer(nlohmann::json::parse(line)).dump() << std::endl;
}
