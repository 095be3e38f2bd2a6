#pragma once

#include <filesystem>

#include "model/transformer.h"

namespace accordion {

/// Copies a Hugging Face directory's weights (model.safetensors, or the shards that model.safetensors.index.json lists,
/// in any floating type) into the model. A tied head may stand under the embedding's name, its own, or both, and a
/// tensor under the name that safetensors' metadata gives. UserError that names the tensor where one is missing,
/// unknown, there twice with different values, or of another shape; buffers that older versions of transformers wrote
/// beside the weights (causal masks, rotary frequencies) are passed over.
void load_weights(Transformer& model, const std::filesystem::path& directory);

/// Writes config.json and model.safetensors into an existing folder, as transformers 4.44 and 5 write and read them, in
/// the dtype of the model. Call it within write_folder().
void save_model(const Transformer& model, const std::filesystem::path& directory);

/// The model that a person named: its weights where it has some, drawn by `seed` otherwise. Not yet trainable.
Transformer open_model(const ModelLocation& location, torch::Dtype dtype, torch::Device device, int64_t seed);
/// The same with a configuration of the caller's, who read that of the location.
Transformer open_model(const ModelLocation& location, ModelConfig config, torch::Dtype dtype, torch::Device device,
                       int64_t seed);

}  // namespace accordion
