#include "model/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"

namespace accordion {
namespace {

constexpr size_t kLengthBytes = 8;                // the file begins with the header's length, little-endian
constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadata = "__metadata__";

struct TypeName {
  const char* name;
  torch::Dtype dtype;
};
constexpr std::array kTypes{TypeName{"F64", torch::kFloat64},   TypeName{"F32", torch::kFloat32},
                            TypeName{"BF16", torch::kBFloat16}, TypeName{"F16", torch::kFloat16},
                            TypeName{"I64", torch::kInt64},     TypeName{"I32", torch::kInt32},
                            TypeName{"I16", torch::kInt16},     TypeName{"I8", torch::kInt8},
                            TypeName{"U8", torch::kUInt8},      TypeName{"BOOL", torch::kBool}};

const char* name_of_type(torch::Dtype dtype) {
  for (const auto& type : kTypes) {
    if (type.dtype == dtype) return type.name;
  }
  TORCH_CHECK(false, "no safetensors type for ", dtype);
}

std::optional<torch::Dtype> type_of_name(const std::string& name) {
  for (const auto& type : kTypes) {
    if (name == type.name) return type.dtype;
  }
  return {};
}

/// Elements of a shape; none where a dimension is negative or the product leaves what a file can hold.
std::optional<uint64_t> elements(const std::vector<int64_t>& shape) {
  uint64_t product = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(product, static_cast<uint64_t>(size), &product)) return {};
  }
  return product < (uint64_t{1} << 56) ? std::optional(product) : std::nullopt;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  auto header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  size_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(!header.contains(name), "tensor ", name, " is written twice");
    const size_t begin = end;
    end += tensor.nbytes();
    header[name] = {
        {"dtype", name_of_type(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
  }
  auto text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of 8
  std::array<unsigned char, kLengthBytes> length;
  for (size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<unsigned char>(text.size() >> (8 * i));

  OutputFile file(path);
  file.write(length.data(), length.size());
  file.write(text);
  for (const auto& item : tensors) {
    const auto tensor = item.second.detach().to(torch::kCPU).contiguous();
    file.write(tensor.const_data_ptr(), tensor.nbytes());
  }
  file.close();
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  const auto damaged = [&](const std::string& what) {
    return UserError(path_.string() + ": damaged safetensors file (" + what + "); copy or save it again");
  };
  if (file_.size() < kLengthBytes) throw damaged("it is cut off");
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<uint64_t>(file_.data()[i]) << (8 * i);
  if (length > kLongestHeader || length > file_.size() - kLengthBytes) throw damaged("its header is cut off");
  data_begin_ = kLengthBytes + length;

  const auto* text = reinterpret_cast<const char*>(file_.data() + kLengthBytes);
  const auto header = nlohmann::json::parse(text, text + length, nullptr, false);
  if (!header.is_object()) throw damaged("its header is not JSON");
  try {
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        metadata_ = value.get<std::map<std::string, std::string>>();
        continue;
      }
      const auto type = value.at("dtype").get<std::string>();
      const auto dtype = type_of_name(type);
      if (!dtype)
        throw UserError(path_.string() + ": tensor " + name + " has type " + type + ", which is not supported");
      const auto offsets = value.at("data_offsets").get<std::array<size_t, 2>>();
      entries_[name] = {*dtype, value.at("shape").get<std::vector<int64_t>>(), offsets[0], offsets[1]};
      names_.push_back(name);
    }
  } catch (const nlohmann::json::exception&) {
    throw damaged("its header is not one of safetensors");
  }

  std::sort(names_.begin(), names_.end(), [&](const auto& a, const auto& b) {
    return std::tie(entries_.at(a).begin, entries_.at(a).end, a) <
           std::tie(entries_.at(b).begin, entries_.at(b).end, b);
  });
  size_t position = 0;
  for (const auto& name : names_) {
    const auto& entry = entries_.at(name);
    const auto count = elements(entry.shape);
    if (entry.begin != position || entry.end < entry.begin || !count ||
        *count * torch::elementSize(entry.dtype) != entry.end - entry.begin) {
      throw damaged("the place of tensor " + name + " does not fit its shape");
    }
    position = entry.end;
  }
  if (position != file_.size() - data_begin_) throw damaged("its data is cut off or too long");
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw UserError(path_.string() + ": no tensor " + name);
  return found->second;
}

std::vector<int64_t> SafetensorsFile::shape(const std::string& name) const { return entry(name).shape; }

torch::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto& place = entry(name);
  auto tensor = torch::empty(place.shape, torch::dtype(place.dtype));
  if (place.end > place.begin) {
    std::memcpy(tensor.mutable_data_ptr(), file_.data() + data_begin_ + place.begin, place.end - place.begin);
  }
  return tensor;
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  NamedTensors tensors;
  for (const auto& name : file.names()) tensors.emplace_back(name, file.tensor(name));
  return tensors;
}

}  // namespace accordion
