#include "train/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/folder.h"

namespace accordion {
namespace {

namespace fs = std::filesystem;

class CheckpointsTest : public testing::Test {
 protected:
  void SetUp() override {
    run_ = fs::temp_directory_path() / ("accordion-checkpoints-" + std::to_string(::getpid()));
    fs::remove_all(run_);
    fs::create_directories(run_);
  }
  void TearDown() override { fs::remove_all(run_); }

  void save(int64_t step, int64_t keep = 2) {
    Checkpoints(run_, keep).save(step, {{"step", step}}, [&](const fs::path& folder) {
      write_file(folder / "model.safetensors", "weights of step " + std::to_string(step));
      write_file(folder / "trainer" / "optimizer.safetensors", "moments");
    });
  }
  std::optional<Checkpoints::Found> newest() {
    warnings_.clear();
    return Checkpoints(run_, 2).newest([&](const std::string& text) { warnings_.push_back(text); });
  }

  fs::path run_;
  std::vector<std::string> warnings_;
};

TEST_F(CheckpointsTest, NoneAtFirst) { EXPECT_FALSE(newest()); }

TEST_F(CheckpointsTest, KeepsTheNewestAndLinksToIt) {
  for (int64_t step : {5, 10, 15}) save(step);
  EXPECT_FALSE(fs::exists(run_ / "checkpoints" / "step-5"));
  EXPECT_TRUE(fs::exists(run_ / "checkpoints" / "step-10"));
  EXPECT_EQ(fs::read_symlink(run_ / "checkpoints" / "latest"), "step-15");
  ASSERT_TRUE(newest());
  EXPECT_EQ(newest()->state["step"], 15);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(CheckpointsTest, NoChangeOfTheStateGoesUnnoticed) {
  save(5), save(10);
  const auto path = run_ / "checkpoints/step-10/trainer/state.json";
  const auto state = newest()->state;
  const auto whole = read_file(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    if (whole[at] == ' ' || whole[at] == '\n') continue;
    auto changed = whole;
    changed[at] = changed[at] == '7' ? '8' : '7';
    fs::create_directories(path.parent_path());
    std::ofstream(path) << changed;
    std::string wrong;
    nlohmann::json found = Checkpoints(run_, 2).newest([&](const std::string& text) { wrong = text; })->state;
    const bool same = found["step"] == state["step"] && found["files"] == state["files"];
    EXPECT_TRUE(!wrong.empty() || same) << "byte " << at << " of " << whole;
    save(10);  // the damaged one was removed
  }
}

TEST_F(CheckpointsTest, ADamagedOneFallsBack) {
  save(5), save(10);
  std::fstream(run_ / "checkpoints/step-10/model.safetensors", std::ios::in | std::ios::out)
      << "X";  // one byte, same size
  auto found = newest();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state["step"], 5);
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("model.safetensors is not what was written"), std::string::npos) << warnings_[0];
  EXPECT_EQ(fs::read_symlink(run_ / "checkpoints" / "latest"), "step-5");
}

TEST_F(CheckpointsTest, AMissingFileAndACutStateAreDamage) {
  save(5), save(10), save(15, 3);
  fs::remove(run_ / "checkpoints/step-15/trainer/optimizer.safetensors");
  fs::resize_file(run_ / "checkpoints/step-10/trainer/state.json", 20);
  EXPECT_EQ(newest()->state["step"], 5);
  EXPECT_EQ(warnings_.size(), 2u);
}

TEST_F(CheckpointsTest, AllDamagedIsAnErrorThatSaysWhatToDo) {
  save(5);
  fs::remove(run_ / "checkpoints/step-5/trainer/state.json");
  EXPECT_THROW(newest(), UserError);
}

TEST_F(CheckpointsTest, AFailedSaveLeavesNothing) {
  save(5);
  EXPECT_THROW(Checkpoints(run_, 2).save(10, {}, [](const fs::path&) { throw UserError("disk full"); }), UserError);
  EXPECT_EQ(newest()->state["step"], 5);
  EXPECT_FALSE(fs::exists(run_ / "checkpoints/step-10"));
  EXPECT_FALSE(fs::exists(run_ / "checkpoints/step-10.partial"));
}

TEST_F(CheckpointsTest, LeftoversOfACrashAreRemoved) {
  save(5);
  fs::create_directories(run_ / "checkpoints/step-10.partial/trainer");
  EXPECT_EQ(newest()->state["step"], 5);
  EXPECT_FALSE(fs::exists(run_ / "checkpoints/step-10.partial"));
}

TEST_F(CheckpointsTest, WhatAKillBetweenTwoMovesLeftComesBack) {
  save(5);
  fs::rename(run_ / "checkpoints/step-5", run_ / "checkpoints/step-5.replaced");
  EXPECT_EQ(newest()->state["step"], 5);
  fs::create_directories(run_ / "checkpoints/step-5.replaced");
  EXPECT_EQ(newest()->state["step"], 5);
  EXPECT_FALSE(fs::exists(run_ / "checkpoints/step-5.replaced"));
}

TEST_F(CheckpointsTest, LatestMayBeAFileOrAFolder) {
  save(5);
  fs::remove(run_ / "checkpoints/latest");
  write_file(run_ / "checkpoints/latest", "step-5\n");
  EXPECT_EQ(newest()->state["step"], 5);
  fs::remove(run_ / "checkpoints/latest");
  fs::copy(run_ / "checkpoints/step-5", run_ / "checkpoints/latest", fs::copy_options::recursive);
  EXPECT_EQ(newest()->state["step"], 5);
  EXPECT_EQ(fs::read_symlink(run_ / "checkpoints/latest"), "step-5");
}

TEST_F(CheckpointsTest, TheInventoryNamesNoMark) {
  save(5);
  const auto found = newest();
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->state["files"].empty());
  for (const auto& [name, entry] : found->state["files"].items()) EXPECT_NE(name, kPartialMark);
}

}  // namespace
}  // namespace accordion
