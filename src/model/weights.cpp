#include "model/weights.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/paths.h"
#include "model/safetensors.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

/// How Hugging Face stores one or several of our matrices in one of theirs.
enum class Layout {
  rows,         ///< one below the other: (O1 + O2 + ..., I)
  transposed,   ///< the same, then transposed: (I, O1 + O2 + ...), GPT-2's Conv1D
  interleaved,  ///< head by head: E rows of the first, E of the second, ...: GPT-NeoX's query_key_value
};

/// One module of theirs (its `.weight` and `.bias`) and the modules of ours that it is made of.
struct Rule {
  std::string theirs;
  std::vector<std::string> ours;
  Layout layout = Layout::rows;
};

struct FamilyNames {
  std::string prefix;  ///< of everything but the head; files of a bare base model go without
  Rule embedding, positions, final_norm, head;
  std::string layers;  ///< before a layer's number
  std::vector<Rule> layer;
  std::vector<std::string> buffers;  ///< how names of what is no weight end, which older versions saved too
  std::string newer_head = head.theirs;
};

FamilyNames family_names(Family family) {
  const std::vector<std::string> qkv{"query", "key", "value"};
  const Rule head{"lm_head", {"head"}};
  const std::string frequencies = ".rotary_emb.inv_freq";
  switch (family) {
    case Family::gpt2:
      return {"transformer.",
              {"wte", {"embedding"}},
              {"wpe", {"positions"}},
              {"ln_f", {"final_norm"}},
              head,
              "h.",
              {{"ln_1", {"attention_norm"}},
               {"attn.c_attn", qkv, Layout::transposed},
               {"attn.c_proj", {"output"}, Layout::transposed},
               {"ln_2", {"mlp_norm"}},
               {"mlp.c_fc", {"up"}, Layout::transposed},
               {"mlp.c_proj", {"down"}, Layout::transposed}},
              {".attn.bias", ".attn.masked_bias"}};
    case Family::gpt_neox:
      return {"gpt_neox.",
              {"embed_in", {"embedding"}},
              {},
              {"final_layer_norm", {"final_norm"}},
              {"embed_out", {"head"}},
              "layers.",
              {{"input_layernorm", {"attention_norm"}},
               {"attention.query_key_value", qkv, Layout::interleaved},
               {"attention.dense", {"output"}},
               {"post_attention_layernorm", {"mlp_norm"}},
               {"mlp.dense_h_to_4h", {"up"}},
               {"mlp.dense_4h_to_h", {"down"}}},
              {".attention.bias", ".attention.masked_bias", frequencies},
              "lm_head"};
    case Family::llama:
    case Family::mistral:
    case Family::qwen2:
      return {"model.",
              {"embed_tokens", {"embedding"}},
              {},
              {"norm", {"final_norm"}},
              head,
              "layers.",
              {{"input_layernorm", {"attention_norm"}},
               {"self_attn.q_proj", {"query"}},
               {"self_attn.k_proj", {"key"}},
               {"self_attn.v_proj", {"value"}},
               {"self_attn.o_proj", {"output"}},
               {"post_attention_layernorm", {"mlp_norm"}},
               {"mlp.gate_proj", {"gate"}},
               {"mlp.up_proj", {"up"}},
               {"mlp.down_proj", {"down"}}},
              {frequencies}};
    case Family::gemma2:
      return {"model.",
              {"embed_tokens", {"embedding"}},
              {},
              {"norm", {"final_norm"}},
              head,
              "layers.",
              {{"input_layernorm", {"attention_norm"}},
               {"self_attn.q_proj", {"query"}},
               {"self_attn.k_proj", {"key"}},
               {"self_attn.v_proj", {"value"}},
               {"self_attn.o_proj", {"output"}},
               {"post_attention_layernorm", {"attention_post_norm"}},
               {"pre_feedforward_layernorm", {"mlp_norm"}},
               {"mlp.gate_proj", {"gate"}},
               {"mlp.up_proj", {"up"}},
               {"mlp.down_proj", {"down"}},
               {"post_feedforward_layernorm", {"mlp_post_norm"}}},
              {frequencies}};
    case Family::mpt:
      return {"transformer.",
              {"wte", {"embedding"}},
              {},
              {"norm_f", {"final_norm"}},
              head,
              "blocks.",
              {{"norm_1", {"attention_norm"}},
               {"attn.Wqkv", qkv},
               {"attn.out_proj", {"output"}},
               {"norm_2", {"mlp_norm"}},
               {"ffn.up_proj", {"up"}},
               {"ffn.down_proj", {"down"}}},
              {}};
  }
  TORCH_CHECK(false, "unknown family");
}

/// One tensor of theirs, made of `parts`.
struct Entry {
  std::vector<std::string> names;  ///< the one that is written, then others that files have it under
  std::vector<torch::Tensor> parts;
  Layout layout;
};

/// Every tensor of the file that transformers writes for this model, in the order of the model.
std::vector<Entry> entries(const Transformer& model, const std::string& prefix, const FamilyNames& names) {
  std::map<std::string, torch::Tensor> ours(model.weights().begin(), model.weights().end());
  std::vector<Entry> result;
  const auto add = [&](const std::string& their_place, const std::string& our_place, const Rule& rule) {
    for (const char* kind : {".weight", ".bias"}) {
      Entry entry{{their_place + rule.theirs + kind}, {}, rule.layout};
      for (const auto& part : rule.ours) {
        if (const auto found = ours.find(our_place + part + kind); found != ours.end())
          entry.parts.push_back(found->second);
      }
      if (!entry.parts.empty()) result.push_back(std::move(entry));
    }
  };
  add(prefix, "", names.embedding);
  add(prefix, "", names.positions);
  for (int64_t l = 0; l < model.config().layers; ++l) {
    const auto number = std::to_string(l) + ".";
    for (const auto& rule : names.layer) add(prefix + names.layers + number, "layers." + number, rule);
  }
  add(prefix, "", names.final_norm);
  add("", "", names.head);
  // A tied head is the embedding, and which of the two names a file has is its writer's choice.
  auto& of_head = model.config().tied_head ? result.front() : result.back();
  for (const auto& head : {names.head.theirs, names.newer_head}) {
    const auto name = head + ".weight";
    if (std::find(of_head.names.begin(), of_head.names.end(), name) == of_head.names.end())
      of_head.names.push_back(name);
  }
  return result;
}

/// Parts (O1,I), (O2,I), ... or (O1), (O2), ... -> theirs.
torch::Tensor assemble(const Entry& entry, int64_t head_width) {
  const auto& parts = entry.parts;
  switch (entry.layout) {
    case Layout::rows:
      return parts.size() == 1 ? parts[0] : torch::cat(parts);
    case Layout::transposed:
      return torch::cat(parts).t();  // t() leaves a bias as it is
    case Layout::interleaved: {
      std::vector<torch::Tensor> heads;
      for (const auto& part : parts) heads.push_back(part.unflatten(0, {-1, head_width}));  // (H,E,...)
      return torch::stack(heads, 1).flatten(0, 2);                                          // (H*3*E,...)
    }
  }
  TORCH_CHECK(false, "unknown layout");
}

/// The inverse of assemble(): copies theirs into the parts.
void distribute(const torch::Tensor& theirs, Entry& entry, int64_t head_width) {
  if (entry.layout == Layout::interleaved) {
    const auto heads = theirs.unflatten(0, {-1, static_cast<int64_t>(entry.parts.size()), head_width});  // (H,3,E,...)
    for (size_t i = 0; i < entry.parts.size(); ++i) {
      entry.parts[i].copy_(heads.select(1, static_cast<int64_t>(i)).flatten(0, 1));
    }
    return;
  }
  const auto rows = entry.layout == Layout::transposed ? theirs.t() : theirs;  // (O1+O2+...,I)
  int64_t begin = 0;
  for (auto& part : entry.parts) {
    part.copy_(rows.narrow(0, begin, part.size(0)));
    begin += part.size(0);
  }
}

std::vector<int64_t> shape_of(const Entry& entry) {
  auto shape = entry.parts[0].sizes().vec();
  shape[0] = 0;
  for (const auto& part : entry.parts) shape[0] += part.size(0);
  if (entry.layout == Layout::transposed) std::reverse(shape.begin(), shape.end());
  return shape;
}

/// The tensors of a directory, in one file or in shards.
class Weights {
 public:
  explicit Weights(const fs::path& directory) : directory_(directory) {
    const auto index_file = directory / "model.safetensors.index.json";
    if (stands(directory / "model.safetensors") || !stands(index_file)) {
      add_file("model.safetensors");
      if (stands(index_file))
        std::cerr << "notice: " << index_file.string()
                  << ": not read, as in transformers: the folder has a model.safetensors too\n";
      return;
    }
    const auto index = nlohmann::json::parse(read_file(index_file), nullptr, false);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      throw UserError(index_file.string() + ": damaged; it should hold a weight_map");
    }
    std::set<std::string> files;
    for (const auto& item : index["weight_map"].items()) {
      if (!item.value().is_string())
        throw UserError(index_file.string() + ": damaged; tensor " + item.key() + " has no file");
      files.insert(item.value().get<std::string>());
    }
    for (const auto& file : files) add_file(file);
    if (index.contains("metadata") && index["metadata"].is_object()) {
      for (const auto& item : index["metadata"].items())
        if (item.value().is_string()) same_as_[item.key()] = item.value().get<std::string>();
    }
    for (const auto& item : index["weight_map"].items()) {
      if (!contains(item.key()))
        throw UserError(index_file.string() + ": tensor " + item.key() + " is in none of its files");
    }
  }
  bool contains(const std::string& name) const { return places_.count(name) != 0; }
  /// The tensors of the files that stand for one of these names: by that name, or by the one that the files' metadata
  /// gives for it, as safetensors' save_model leaves it of tensors that share their memory.
  std::vector<std::string> find(const std::vector<std::string>& names) const {
    std::vector<std::string> result;
    for (auto name : names) {
      if (const auto kept = same_as_.find(name); !contains(name) && kept != same_as_.end()) name = kept->second;
      if (contains(name) && std::find(result.begin(), result.end(), name) == result.end()) result.push_back(name);
    }
    return result;
  }
  std::vector<int64_t> shape(const std::string& name) const { return files_[places_.at(name)].shape(name); }
  torch::Tensor tensor(const std::string& name) const { return files_[places_.at(name)].tensor(name); }
  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& item : places_) result.insert(item.first);
    return result;
  }
  UserError error(const std::string& what) const { return UserError(directory_.string() + ": " + what); }

 private:
  void add_file(const std::string& name) {
    files_.emplace_back(directory_ / name);
    for (const auto& tensor : files_.back().names()) {
      if (!places_.emplace(tensor, files_.size() - 1).second)
        throw error("tensor " + tensor + " is in " + name + " and in another file");
    }
    same_as_.insert(files_.back().metadata().begin(), files_.back().metadata().end());
  }
  fs::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> places_;
  std::map<std::string, std::string> same_as_;
};

std::string text(const std::vector<int64_t>& shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

/// One of the tensors of the files that an entry is, in the shape that the model asks for.
torch::Tensor tensor_of(const Weights& weights, const std::string& name, const Entry& entry) {
  const auto shape = weights.shape(name), expected = shape_of(entry);
  if (shape != expected)
    throw weights.error("tensor " + name + " has shape " + text(shape) + ", but config.json asks for " +
                        text(expected));
  auto tensor = weights.tensor(name);
  if (!tensor.is_floating_point()) throw weights.error("tensor " + name + " does not hold floating-point numbers");
  return tensor;
}

bool same_values(const torch::Tensor& a, const torch::Tensor& b) {
  const auto type = torch::promoteTypes(a.scalar_type(), b.scalar_type());
  return torch::equal(a.to(type), b.to(type));
}

/// The names in the files of one of the model's tensors. Where there are several they hold the same values.
std::vector<std::string> take(const Weights& weights, Entry& entry, const ModelConfig& config) {
  auto found = weights.find(entry.names);
  if (found.empty()) throw weights.error("tensor " + entry.names[0] + " is missing");
  const auto theirs = tensor_of(weights, found[0], entry);
  for (size_t i = 1; i < found.size(); ++i) {
    if (!same_values(theirs, tensor_of(weights, found[i], entry)))
      throw weights.error("tensors " + found[0] + " and " + found[i] + " differ, but are one in this config.json" +
                          (config.tied_head ? "; say \"tie_word_embeddings\": false in it to keep both" : ""));
  }
  distribute(theirs, entry, config.head_width);
  return found;
}

/// Passes over what a file may hold and the model does not: buffers, and the zeros of a model without positions.
void drop_extras(const ModelConfig& config, const Weights& weights, const FamilyNames& names, const std::string& table,
                 std::set<std::string>& left) {
  for (auto name = left.begin(); name != left.end();) {
    const auto ends = [&](const std::string& end) {
      return name->size() >= end.size() && name->compare(name->size() - end.size(), end.size(), end) == 0;
    };
    name = std::any_of(names.buffers.begin(), names.buffers.end(), ends) ? left.erase(name) : std::next(name);
  }
  if (config.position != PositionKind::none || !weights.contains(table)) return;
  if (weights.tensor(table).count_nonzero().item<int64_t>() != 0)
    throw weights.error("tensor " + table + " is not zero, but config.json says accordion.position none");
  left.erase(table);
}

}  // namespace

void load_weights(Transformer& model, const fs::path& directory) {
  const torch::NoGradGuard guard;
  const Weights weights(directory);
  const auto& config = model.config();
  const auto names = family_names(config.family);
  auto left = weights.names();
  const bool bare =
      std::none_of(left.begin(), left.end(), [&](const auto& name) { return name.rfind(names.prefix, 0) == 0; });
  const auto prefix = bare ? "" : names.prefix;
  for (auto& entry : entries(model, prefix, names)) {
    for (const auto& name : take(weights, entry, config)) left.erase(name);
  }
  drop_extras(config, weights, names, prefix + names.positions.theirs + ".weight", left);
  if (!left.empty())
    throw weights.error("tensor " + *left.begin() + " is unknown in a " + name_of(config.family) +
                        " of this config.json");
}

void save_model(const Transformer& model, const fs::path& directory) {
  const torch::NoGradGuard guard;
  const auto& config = model.config();
  const auto names = family_names(config.family);
  NamedTensors tensors;
  for (const auto& entry : entries(model, names.prefix, names)) {
    tensors.emplace_back(entry.names[0], assemble(entry, config.head_width).detach());
  }
  if (config.position == PositionKind::none) {
    const auto zeros = torch::zeros({config.max_positions, config.width}, model.dtype());
    tensors.emplace_back(names.prefix + names.positions.theirs + ".weight", zeros);
  }
  auto document = model_config_json(config);
  document["torch_dtype"] = model.dtype() == torch::kBFloat16 ? "bfloat16" : "float32";
  write_file(directory / "config.json", json_text(document, 2) + "\n");
  write_safetensors(directory / "model.safetensors", tensors,
                    {{"format", "pt"}});  // transformers 4 insists on the format
}

Transformer open_model(const ModelLocation& location, torch::Dtype dtype, torch::Device device, int64_t seed) {
  return open_model(location, load_model_config(location), dtype, device, seed);
}

Transformer open_model(const ModelLocation& location, ModelConfig config, torch::Dtype dtype, torch::Device device,
                       int64_t seed) {
  Transformer model(std::move(config), dtype, device);
  if (location.weights.empty()) {
    model.initialise(seed);
  } else {
    load_weights(model, location.weights);
  }
  return model;
}

}  // namespace accordion
