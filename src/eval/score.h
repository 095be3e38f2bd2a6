#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/transformer.h"

namespace accordion {

/// log p(token | those before it) of every token of a sequence, in nats; none for the first. One forward pass of
/// sequence length, the logits never held whole. Ids must be below the vocabulary, the length within a learned table.
std::vector<std::optional<double>> score(const Transformer& model, const std::vector<int64_t>& ids);

/// The sequences of a JSON file `[[id,...],...]`; UserError where it is something else, or an id or a length is not one
/// of the model's.
std::vector<std::vector<int64_t>> read_sequences(const std::string& file, const ModelConfig& config);

}  // namespace accordion
