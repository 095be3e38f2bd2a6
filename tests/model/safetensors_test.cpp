#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"

namespace accordion {
namespace {

using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    file_ = std::filesystem::temp_directory_path() / ("safetensors_" + std::to_string(::getpid()) + ".safetensors");
  }
  void TearDown() override { std::filesystem::remove(file_); }
  void put(const std::string& content) { std::ofstream(file_, std::ios::binary) << content; }
  /// A file with the given header and `bytes` of data.
  void put_header(const std::string& header, size_t bytes) {
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size());
    put(length + header + std::string(bytes, '\0'));
  }
  std::string message() const {
    try {
      const SafetensorsFile file(file_);
    } catch (const UserError& error) {
      return error.what();
    }
    return "opened";
  }
  std::filesystem::path file_;
};

TEST_F(Safetensors, EveryTypeComesBackInOrder) {
  NamedTensors tensors;
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16, torch::kFloat16, torch::kInt64,
                           torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    std::string name = "z";  // the order of the file is not that of the names
    name += std::to_string(20 - tensors.size());
    tensors.emplace_back(name, torch::randint(0, 2, {3, 5}).to(dtype));
  }
  tensors.emplace_back("scalar", torch::tensor(1.5));
  tensors.emplace_back("empty", torch::empty({0, 4}));
  tensors.emplace_back("transposed", torch::rand({4, 3}).t());
  write_safetensors(file_, tensors, {{"format", "pt"}});
  const auto read = read_safetensors(file_);
  ASSERT_EQ(read.size(), tensors.size());
  for (size_t i = 0; i < read.size(); ++i) {
    const auto& [name, tensor] = read[i];
    const auto& expected = tensors[i].second;
    EXPECT_EQ(name, tensors[i].first);
    EXPECT_EQ(tensor.scalar_type(), expected.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(tensor, expected)) << name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0u) << name;
  }
  EXPECT_EQ(SafetensorsFile(file_).metadata().at("format"), "pt");
}

TEST_F(Safetensors, DamageIsNamed) {
  write_safetensors(file_, {{"a", torch::rand({10, 10})}});
  const auto whole = read_file(file_);
  for (const size_t kept : {size_t{0}, size_t{5}, size_t{20}, whole.size() - 1}) {
    put(whole.substr(0, kept));
    EXPECT_THAT(message(), HasSubstr("damaged")) << kept;
    EXPECT_THAT(message(), HasSubstr(file_.string())) << kept;
  }
  put(whole + "x");
  EXPECT_THAT(message(), HasSubstr("damaged"));
  put(std::string(200, '\xff'));
  EXPECT_THAT(message(), HasSubstr("header is cut off"));
}

TEST_F(Safetensors, PlacesMustFitShapes) {
  put_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_EQ(message(), "opened");
  put_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message(), HasSubstr("tensor a does not fit"));
  put_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12);
  EXPECT_THAT(message(), HasSubstr("tensor a does not fit"));
  put_header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message(), HasSubstr("tensor a does not fit"));
  put_header(R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message(), HasSubstr("tensor a does not fit"));
  put_header(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message(), HasSubstr("F8_E4M3"));
  put_header(R"({"a":{"dtype":"F32","shape":"x","data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message(), HasSubstr("not one of safetensors"));
  put_header(R"([1])", 0);
  EXPECT_THAT(message(), HasSubstr("not JSON"));
}

}  // namespace
}  // namespace accordion
