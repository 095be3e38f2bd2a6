#pragma once

#include <nlohmann/json.hpp>

#include "model/config.h"

namespace accordion {

nlohmann::json id_or_null(int64_t id);  ///< null where it is negative: none

/// Writes bos_token_id and eos_token_id of `config`; a list of ends in `read`, the file as it was, stays where it holds
/// the model's.
void name_tokens(const ModelConfig& config, const nlohmann::json& read, nlohmann::json& written);

}  // namespace accordion
