#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace accordion {

/// What a tokenizer puts around a text: ids.
struct Frame {
  std::vector<int64_t> before, after;
  bool empty() const { return before.empty() && after.empty(); }
};

/// The special tokens that the `post_processor` of a tokenizer.json puts around a single text: TemplateProcessing,
/// BertProcessing, RobertaProcessing, and sequences of them, each around what the one before it made; ByteLevel adds
/// none. Throws nlohmann::json::exception where the description is not as it should be.
Frame read_frame(const nlohmann::json& post_processor,
                 const std::function<std::optional<int64_t>(const std::string&)>& id_of);

}  // namespace accordion
