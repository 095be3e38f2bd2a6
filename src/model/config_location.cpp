#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/paths.h"
#include "model/config.h"

namespace fs = std::filesystem;

namespace accordion {
namespace {

bool has_weights(const fs::path& directory) {
  return stands(directory / "model.safetensors") || stands(directory / "model.safetensors.index.json");
}

/// The number of a `step-N` folder.
std::optional<int64_t> step_of(const fs::path& folder) {
  const auto name = folder.filename().string();
  if (name.rfind("step-", 0) != 0) return {};
  int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return {};
  return step;
}

/// The newest checkpoint of a run folder: what checkpoints/latest names (a link, or a file that holds the name), else
/// the highest step, else final/.
std::optional<fs::path> newest_checkpoint(const fs::path& run) {
  const auto checkpoints = run / "checkpoints";
  auto latest = checkpoints / "latest";
  if (is_file(latest)) {
    auto name = read_file(latest);
    name.erase(std::remove_if(name.begin(), name.end(), [](unsigned char c) { return std::isspace(c); }), name.end());
    latest = checkpoints / name;
  }
  if (has_weights(latest)) return latest;
  std::optional<fs::path> best;
  for (const auto& path : entries_of(checkpoints)) {
    if (!step_of(path) || !has_weights(path)) continue;
    if (!best || *step_of(path) > *step_of(*best)) best = path;
  }
  if (!best && has_weights(run / "final")) best = run / "final";
  return best;
}

ModelLocation locate_directory(const fs::path& directory) {
  if (stands(directory / "config.json")) {
    if (has_weights(directory)) return {directory / "config.json", directory, directory};
    const bool pickled = stands(directory / "pytorch_model.bin") || stands(directory / "pytorch_model.bin.index.json");
    throw UserError(directory.string() +
                    (pickled
                         ? ": its weights are in PyTorch's pickle format; save them as safetensors with transformers"
                         : ": no model.safetensors; name the config.json itself for random weights"));
  }
  if (const auto checkpoint = newest_checkpoint(directory))
    return {*checkpoint / "config.json", *checkpoint, *checkpoint};
  throw UserError(directory.string() +
                  ": neither a Hugging Face model (config.json, model.safetensors) nor a run folder with a checkpoint");
}

/// Where presets can be: the current folder, then every folder above the program (the source tree of build/accordion),
/// each with the share/accordion of an installation.
std::vector<fs::path> preset_roots() {
  std::vector<fs::path> roots{"."};
  std::error_code error;
  const auto program = fs::read_symlink("/proc/self/exe", error);
  for (auto folder = program.parent_path(); !error && folder.has_relative_path(); folder = folder.parent_path()) {
    roots.push_back(folder);
    roots.push_back(folder / "share" / "accordion");
  }
  return roots;
}

std::vector<std::string> preset_names(const std::vector<fs::path>& roots) {
  std::set<std::string> names;
  for (const auto& root : roots) {
    for (const auto& path : entries_of(root / "models")) {
      if (path.extension() == ".json") names.insert(path.stem().string());
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

ModelLocation find_model(const std::string& model) {
  if (model.empty())
    throw UserError("no model named; give a Hugging Face directory, a config.json, a run folder or a name in models/");
  const fs::path path(model);
  if (is_folder(path)) return locate_directory(path);
  if (is_file(path)) return {path, {}, path.parent_path()};
  if (stands(path))
    throw UserError(model + ": neither a folder nor a regular file; a model is read more than once: save it to a file");
  const auto roots = preset_roots();
  for (const auto& root : roots) {
    for (const auto& folder : {root, root / "models"}) {
      for (const auto& name : {model, model + ".json"}) {
        const auto file = folder / name;
        if (file.extension() == ".json" && is_file(file)) return {file, {}, file.parent_path()};
      }
    }
  }
  throw UserError("model '" + model + "': no such folder, file or preset" +
                  suggestion(path.stem().string(), preset_names(roots)));
}

ModelConfig load_model_config(const ModelLocation& location) {
  const auto name = location.config_file.string();
  const auto document = nlohmann::json::parse(read_file(location.config_file), nullptr, false);
  if (document.is_discarded()) throw UserError(name + ": not valid JSON");
  return parse_model_config(document, name);
}

}  // namespace accordion
