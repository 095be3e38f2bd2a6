#include "model/config_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/paths.h"
#include "model/config.h"

namespace accordion {

using nlohmann::json;

json id_or_null(int64_t id) { return id >= 0 ? json(id) : json(nullptr); }

void name_tokens(const ModelConfig& config, const json& read, json& written) {
  written["bos_token_id"] = id_or_null(config.bos);
  const auto ends = read.is_object() ? read.value("eos_token_id", json()) : json();
  const bool among = ends.is_array() && std::find(ends.begin(), ends.end(), json(config.eos)) != ends.end();
  written["eos_token_id"] = among ? ends : id_or_null(config.eos);  // a list that holds it stays
}

void take_tokens(ModelConfig& config, int64_t bos, int64_t eos, int64_t pad, bool random_weights) {
  config.bos = bos;
  if (eos >= 0) config.eos = eos;
  if (!random_weights || (config.pad < 0 && !config.original.contains("pad_token_id"))) return;
  if (config.pad >= 0) config.pad = pad;
  config.original["pad_token_id"] = id_or_null(pad);
}

json read_generation_config(const std::filesystem::path& directory) {
  const auto path = directory / "generation_config.json";
  if (!stands(path)) return json::object();
  auto read = json::parse(read_file(path), nullptr, false);
  if (!read.is_object()) throw UserError(path.string() + ": not a JSON object; fetch the file again, or remove it");
  return read;
}

json generation_config_json(const ModelConfig& config, json read) {
  name_tokens(config, json(read), read);
  read.erase("transformers_version");  // it was not that version which wrote this
  read.erase("_from_model_config");
  if (config.pad >= 0) read["pad_token_id"] = config.pad;
  return read;
}

std::vector<int64_t> end_ids(const ModelConfig& config, const json& generation) {
  std::vector<int64_t> ids;
  if (config.eos >= 0) ids.push_back(config.eos);
  for (const auto* file : {&config.original, &generation}) {
    if (!file->is_object() || !file->contains("eos_token_id") || (*file)["eos_token_id"].is_null()) continue;
    const auto& ends = (*file)["eos_token_id"];
    for (const auto& id : ends.is_array() ? ends : json::array({ends})) {
      if (!id.is_number_integer())
        throw UserError(std::string(file == &generation ? "generation_config.json" : "config.json") +
                        ": eos_token_id: must be a token's id, or a list of ids");
      ids.push_back(id.get<int64_t>());
    }
  }
  return ids;
}

}  // namespace accordion
