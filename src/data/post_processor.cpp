#include "data/post_processor.h"

namespace accordion {
namespace {

using nlohmann::json;
using IdOf = std::function<std::optional<int64_t>(const std::string&)>;

/// `single` of a template is a list of {"SpecialToken": {"id": NAME}} and {"Sequence": {"id": "A"}}; `special_tokens`
/// says which ids each name stands for.
Frame read_template(const json& description, const IdOf& id_of) {
  const auto names = description.value("special_tokens", json::object());
  Frame frame;
  bool text_came = false;
  for (const auto& part : description.at("single")) {
    if (!part.contains("SpecialToken")) {
      text_came = true;
      continue;
    }
    auto& side = text_came ? frame.after : frame.before;
    const auto name = part["SpecialToken"].at("id").get<std::string>();
    if (names.contains(name)) {
      const auto ids = names[name].at("ids").get<std::vector<int64_t>>();
      side.insert(side.end(), ids.begin(), ids.end());
    } else if (const auto id = id_of(name)) {
      side.push_back(*id);
    }
  }
  return frame;
}

}  // namespace

Frame read_frame(const json& post_processor, const IdOf& id_of) {
  if (post_processor.is_null()) return {};
  const auto type = post_processor.at("type").get<std::string>();
  if (type == "TemplateProcessing") return read_template(post_processor, id_of);
  if (type == "BertProcessing" || type == "RobertaProcessing")  // each a pair of the token and its id
    return {{post_processor.at("cls").at(1).get<int64_t>()}, {post_processor.at("sep").at(1).get<int64_t>()}};
  Frame frame;
  if (type != "Sequence") return frame;
  for (const auto& part : post_processor.at("processors")) {
    const auto outer = read_frame(part, id_of);
    frame.before.insert(frame.before.begin(), outer.before.begin(), outer.before.end());
    frame.after.insert(frame.after.end(), outer.after.begin(), outer.after.end());
  }
  return frame;
}

}  // namespace accordion
