#include "train/timeline.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "memory/allocator.h"
#include "memory/meter.h"
#include "op/torch.h"

namespace accordion {
namespace {

nlohmann::json data_of_page(const std::string& path) {
  const auto page = read_file(path);
  const auto begin = page.find("const data = ") + 13;
  return nlohmann::json::parse(page.substr(begin, page.find(";\n", begin) - begin));
}

TEST(TimelineFile, ThePeakNamesWhatWasLiveByKind) {
  memory::tune_allocator();
  const std::string path = testing::TempDir() + "accordion-timeline.html";
  TimelineFile file(path, "a test");
  for (size_t step = 1; step <= TimelineFile::kSteps; ++step) {
    memory::reset_phases();
    file.begin_step(static_cast<int64_t>(step), 64, 2);
    const memory::PhaseScope phase(memory::Phase::head);
    const memory::KindScope kind(memory::Kind::workspace);
    const auto most = torch::empty({(step == 2 ? 5 : 3) << 20}, torch::kByte);
    EXPECT_EQ(file.end_step(), step == TimelineFile::kSteps);
  }
  const auto data = data_of_page(path);
  EXPECT_EQ(data["steps"].size(), TimelineFile::kSteps);
  EXPECT_EQ(data["peak"]["phase"], "head");
  for (size_t kind = 0; kind < memory::kKinds; ++kind) {
    const int64_t expected = data["kinds"][kind] == "workspace" ? 5 : 0;  // MiB
    EXPECT_EQ(data["peak"]["bytes"][kind].get<int64_t>() >> 20, expected) << data["kinds"][kind];
    const auto live = data["live"][kind].get<std::vector<int64_t>>();
    EXPECT_EQ(*std::max_element(live.begin(), live.end()) >> 20, expected) << data["kinds"][kind];
  }
}

}  // namespace
}  // namespace accordion
