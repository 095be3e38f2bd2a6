#include "model/weights.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
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
};

FamilyNames family_names(Family family) {
  const std::vector<std::string> qkv{"query", "key", "value"};
  const Rule head{"lm_head", {"head"}};
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
               {"mlp.c_proj", {"down"}, Layout::transposed}}};
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
               {"mlp.dense_4h_to_h", {"down"}}}};
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
               {"mlp.down_proj", {"down"}}}};
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
               {"post_feedforward_layernorm", {"mlp_post_norm"}}}};
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
               {"ffn.down_proj", {"down"}}}};
  }
  TORCH_CHECK(false, "unknown family");
}

/// One tensor of theirs, made of `parts`.
struct Entry {
  std::string name;
  std::vector<torch::Tensor> parts;
  Layout layout;
};

/// Every tensor of the file that transformers writes for this model, in the order of the model.
std::vector<Entry> entries(const Transformer& model, const std::string& prefix, const FamilyNames& names) {
  std::map<std::string, torch::Tensor> ours(model.weights().begin(), model.weights().end());
  std::vector<Entry> result;
  const auto add = [&](const std::string& their_place, const std::string& our_place, const Rule& rule) {
    for (const char* kind : {".weight", ".bias"}) {
      Entry entry{their_place + rule.theirs + kind, {}, rule.layout};
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
    if (!fs::exists(directory / "model.safetensors.index.json")) {
      add_file("model.safetensors");
      return;
    }
    const auto index_file = directory / "model.safetensors.index.json";
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
    for (const auto& item : index["weight_map"].items()) {
      if (!contains(item.key()))
        throw UserError(index_file.string() + ": tensor " + item.key() + " is in none of its files");
    }
  }
  bool contains(const std::string& name) const { return places_.count(name) != 0; }
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
    for (const auto& tensor : files_.back().names()) places_[tensor] = files_.size() - 1;
  }
  fs::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> places_;
};

/// Buffers that older versions of transformers saved beside the weights: causal masks and rotary frequencies.
bool is_known_buffer(const std::string& name) {
  for (const std::string end :
       {".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq"}) {
    if (name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0) return true;
  }
  return false;
}

std::string text(const std::vector<int64_t>& shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

/// Takes the tables that the file may hold and the model does not: a tied head, and the zeros of a model without
/// positions.
void take_extras(const Transformer& model, const Weights& weights, const FamilyNames& names, const std::string& prefix,
                 std::set<std::string>& left) {
  if (model.config().tied_head) {
    for (const char* head : {"lm_head.weight", "embed_out.weight"}) left.erase(head);
  }
  const auto table = prefix + names.positions.theirs + ".weight";
  if (model.config().position != PositionKind::none || !weights.contains(table)) return;
  if (weights.tensor(table).count_nonzero().item<int64_t>() != 0) {
    throw weights.error("tensor " + table + " is not zero, but config.json says accordion.position none");
  }
  left.erase(table);
}

}  // namespace

void load_weights(Transformer& model, const fs::path& directory) {
  const torch::NoGradGuard guard;
  const Weights weights(directory);
  auto names = family_names(model.config().family);
  const bool bare = !weights.contains(names.prefix + names.embedding.theirs + ".weight");
  const auto prefix = bare ? "" : names.prefix;
  if (weights.contains("lm_head.weight")) names.head.theirs = "lm_head";  // gpt_neox's name within transformers 5

  auto left = weights.names();
  for (auto& entry : entries(model, prefix, names)) {
    if (!weights.contains(entry.name)) throw weights.error("tensor " + entry.name + " is missing");
    const auto shape = weights.shape(entry.name), expected = shape_of(entry);
    if (shape != expected) {
      throw weights.error("tensor " + entry.name + " has shape " + text(shape) + ", but config.json asks for " +
                          text(expected));
    }
    const auto theirs = weights.tensor(entry.name);
    if (!theirs.is_floating_point())
      throw weights.error("tensor " + entry.name + " does not hold floating-point numbers");
    distribute(theirs, entry, model.config().head_width);
    left.erase(entry.name);
  }
  take_extras(model, weights, names, prefix, left);
  for (const auto& name : left) {
    if (!is_known_buffer(name))
      throw weights.error("tensor " + name + " is unknown in a " + name_of(model.config().family) +
                          " of this config.json");
  }
}

void save_model(const Transformer& model, const fs::path& directory) {
  const torch::NoGradGuard guard;
  const auto& config = model.config();
  const auto names = family_names(config.family);
  NamedTensors tensors;
  for (const auto& entry : entries(model, names.prefix, names)) {
    tensors.emplace_back(entry.name, assemble(entry, config.head_width).detach());
  }
  if (config.position == PositionKind::none) {
    const auto zeros = torch::zeros({config.max_positions, config.width}, model.dtype());
    tensors.emplace_back(names.prefix + names.positions.theirs + ".weight", zeros);
  }
  auto document = model_config_json(config);
  document["torch_dtype"] = model.dtype() == torch::kBFloat16 ? "bfloat16" : "float32";
  write_file(directory / "config.json", document.dump(2) + "\n");
  write_safetensors(directory / "model.safetensors", tensors,
                    {{"format", "pt"}});  // transformers 4 insists on the format
}

Transformer open_model(const ModelLocation& location, torch::Dtype dtype, torch::Device device, int64_t seed) {
  Transformer model(load_model_config(location), dtype, device);
  if (location.weights.empty()) {
    model.initialise(seed);
  } else {
    load_weights(model, location.weights);
  }
  return model;
}

}  // namespace accordion
