#include "report/run_log.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "report/run_folder.h"
#include "scratch.h"

namespace accordion {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

StepRecord step_record(int64_t step) {
  return {.step = step,
          .total_steps = 10,
          .tokens = step * 1024,
          .length = step < 5 ? 64 : 128,
          .rows = step < 5 ? 16 : 8,
          .loss = 5.0 - 0.1 * static_cast<double>(step),
          .lr = 1e-3,
          .grad_norm = 0.5,
          .seconds = 0.5 * static_cast<double>(step),
          .step_seconds = 0.5,
          .tokens_per_second = 2048,
          .flops = 1e9 * static_cast<double>(step),
          .peak_bytes = 3 << 20};
}

/// Steps first..last as a trainer logs them: the change of length before step 5, evaluation after steps 4 and 8.
void train(RunLog& log, int64_t first, int64_t last) {
  for (int64_t step = first; step <= last; ++step) {
    if (step == 5) log.length({.step = 5, .tokens = 4096, .from = 64, .to = 128, .rows = 8});
    log.step(step_record(step));
    if (step % 4 == 0)
      log.evaluation({.step = step, .tokens = step * 1024, .length = 128, .loss = 4.5, .eval_tokens = 4096});
  }
}

class RunLogs : public Scratch {
 protected:
  std::vector<std::string> records() const {
    std::vector<std::string> found;
    for (const auto& line : lines("metrics.jsonl")) {
      const auto record = json::parse(line);
      found.push_back(record["type"].get<std::string>() + " " + std::to_string(record["step"].get<int64_t>()));
    }
    return found;
  }
};

TEST(StepLine, ReadsAsDocumented) {
  const StepRecord record{.step = 120,
                          .total_steps = 1220,
                          .length = 256,
                          .rows = 64,
                          .loss = 4.2131,
                          .lr = 9.8e-4,
                          .grad_norm = 0.712,
                          .step_seconds = 0.52,
                          .tokens_per_second = 31200,
                          .peak_bytes = 2254857830};
  EXPECT_EQ(step_line(record, 190),
            "step 120/1220 | length 256 x 64 | loss 4.213 | lr 9.8e-04 | norm 0.71 | 31.2k tok/s | 0.52 s | 2.1 GiB | "
            "eta 03:10");
}

TEST_F(RunLogs, RecordsHaveTheDocumentedKeys) {
  RunLog log(folder, quiet);
  train(log, 4, 5);
  const auto written_lines = lines("metrics.jsonl");  // while the log is open: each line was written out at its step
  ASSERT_EQ(written_lines.size(), 4U);
  const auto step = json::parse(written_lines[0]);
  EXPECT_EQ(step["type"], "step");
  for (const char* key : {"step", "tokens", "length", "rows", "loss", "lr", "grad_norm", "seconds", "step_seconds",
                          "tokens_per_second", "flops", "peak_bytes"})
    EXPECT_TRUE(step[key].is_number()) << key;
  const auto evaluation = json::parse(written_lines[1]);
  EXPECT_EQ(evaluation["type"], "eval");
  EXPECT_EQ(evaluation["loss"], 4.5);
  EXPECT_EQ(json::parse(written_lines[2]),
            json({{"type", "length"}, {"step", 5}, {"tokens", 4096}, {"from", 64}, {"to", 128}, {"rows", 8}}));
}

TEST_F(RunLogs, WhatAPersonSawIsInTheLog) {
  RunLog log(folder, quiet);
  log.print("a plan\nof two lines\n");
  train(log, 4, 5);
  log.warning("slow disk");
  EXPECT_EQ(written(quiet.output) + written(quiet.messages), read_file(folder / "log.txt"));
  EXPECT_THAT(read_file(folder / "log.txt"), HasSubstr("step 5 | the length goes from 64 to 128, rows of a step: 8\n"));
  EXPECT_EQ(written(quiet.messages), "warning: slow disk\n");
}

TEST_F(RunLogs, NotFiniteIsNull) {
  auto record = step_record(3);
  record.loss = NAN;
  record.grad_norm = INFINITY;
  record.skipped = true;
  RunLog(folder, quiet).step(record);
  const auto step = json::parse(lines("metrics.jsonl").at(0));
  EXPECT_TRUE(step["loss"].is_null());
  EXPECT_TRUE(step["grad_norm"].is_null());
  EXPECT_EQ(step["skipped"], true);
  EXPECT_THAT(lines("log.txt").at(0), HasSubstr("skipped"));
}

TEST_F(RunLogs, ResumeDropsWhatTheCheckpointDoesNotKnow) {
  const auto whole = [&](const std::string& name) { return read_file(folder / name); };
  {
    RunLog log(folder, quiet);
    log.print("plan");
    train(log, 1, 10);
  }
  const auto metrics = whole("metrics.jsonl"), text = whole("log.txt");
  for (int64_t checkpoint = 0; checkpoint <= 10; ++checkpoint) {
    {
      RunLog log(folder, quiet, {checkpoint});
      train(log, checkpoint + 1, 10);
    }
    EXPECT_EQ(whole("metrics.jsonl"), metrics) << "resumed at " << checkpoint;
    std::string now = whole("log.txt");  // but for the estimate of the time left, which each session makes anew
    EXPECT_EQ(std::count(now.begin(), now.end(), '\n'), std::count(text.begin(), text.end(), '\n'))
        << "resumed at " << checkpoint;
  }
}

TEST_F(RunLogs, ACutEvaluationIsMadeOnce) {
  const auto evaluate = [](RunLog& log, int64_t length) { log.evaluation({.step = 2, .length = length, .loss = 3}); };
  {
    RunLog log(folder, quiet);
    train(log, 1, 2);
    for (const int64_t length : {32, 128, 512}) evaluate(log, length);
    train(log, 3, 4);
  }
  const auto metrics = read_file(folder / "metrics.jsonl");
  const auto text = lines("log.txt").size();
  {  // a checkpoint that was written when 128 and 512 were still to come
    RunLog log(folder, quiet, {2, {128, 512}});
    EXPECT_EQ(lines("metrics.jsonl").size(), 3U);
    EXPECT_EQ(lines("log.txt").size(), 3U);
    for (const int64_t length : {128, 512}) evaluate(log, length);
    train(log, 3, 4);
  }
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), metrics);
  EXPECT_EQ(lines("log.txt").size(), text);
}

TEST_F(RunLogs, ATornLastLineGoes) {
  {
    RunLog log(folder, quiet);
    train(log, 1, 3);
  }
  const auto metrics = read_file(folder / "metrics.jsonl");
  const auto third = metrics.rfind("{\"type\"");
  for (size_t cut = third + 1; cut < metrics.size(); cut += 7) {  // at any byte of the third line, its end included
    put("metrics.jsonl", metrics.substr(0, cut));
    put("log.txt", "step 1/10\nstep 2/10\nstep 3/1");
    RunLog log(folder, quiet, {2});
    log.step(step_record(3));
    EXPECT_THAT(records(), ElementsAre("step 1", "step 2", "step 3"));
    EXPECT_EQ(lines("log.txt").size(), 3U);
  }
}

TEST_F(RunLogs, StartingAnewLeavesNoOldLine) {
  put("metrics.jsonl", "{\"type\":\"eval\",\"step\":0}\n{\"type\":\"step\",\"step\":1}\n");
  put("log.txt", "plan\nstep 1/10\n");
  RunLog log(folder, quiet);
  EXPECT_TRUE(lines("metrics.jsonl").empty());
  EXPECT_TRUE(lines("log.txt").empty());
}

TEST_F(RunLogs, TheBarIsWipedBeforeEachLine) {
  quiet.terminal = true;
  RunLog log(folder, quiet);
  train(log, 1, 2);
  log.note("a note");
  log.activity("evaluating");
  const auto bar = written(quiet.messages);
  EXPECT_THAT(bar, HasSubstr("training "));
  EXPECT_THAT(bar, HasSubstr(" 10 %  2.0k tok/s  00:05 left"));
  EXPECT_THAT(bar, HasSubstr("\r\033[K"));
  EXPECT_THAT(bar, HasSubstr(" 20 %  evaluating"));
  EXPECT_THAT(written(quiet.output), Not(HasSubstr("\033")));
}

TEST_F(RunLogs, AFolderThatCannotBeMade) {
  put("file", "");
  EXPECT_THROW(RunLog(folder / "file" / "run", quiet), UserError);
}

TEST_F(RunLogs, FreshKeepsLinksToFolders) {
  put("disk/run/metrics.jsonl", "x");
  put("disk/checkpoints/step-1/config.json", "x");
  std::filesystem::create_directory_symlink("disk/run", folder / "link");
  std::filesystem::create_directory_symlink("../checkpoints", folder / "disk/run/checkpoints");
  remove_run_files(folder / "link");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "disk/run/checkpoints"));
  EXPECT_FALSE(std::filesystem::exists(folder / "disk/run/metrics.jsonl"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "disk/checkpoints"));
}

TEST_F(RunLogs, ARunFolderHasOneTrainer) {
  const auto run = folder / "a/run";
  {
    const RunFolder mine(run);
    try {
      const RunFolder other(run);
      FAIL();
    } catch (const UserError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a/run: another process trains in this run folder (process "));
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a")) << "nothing was written";
}

TEST_F(RunLogs, FreshRemovesOnlyTheRunsOwn) {
  for (const char* name :
       {"recipe.yaml", "metrics.jsonl", "metrics.jsonl.partial", "log.txt", "events.out.tfevents.1.host.2",
        "final/config.json", "checkpoints/step-10/config.json", "checkpoints/step-20.partial/x", "checkpoints/latest"})
    put(name, "x");
  put("notes.txt", "mine");
  put("checkpoints/best/config.json", "mine");
  EXPECT_EQ(run_files(folder).size(), 9U);
  remove_run_files(folder);
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) left.push_back(std::filesystem::relative(entry.path(), folder).string());
  EXPECT_THAT(left, UnorderedElementsAre("notes.txt", "checkpoints/best/config.json"));
  remove_run_files(folder / "none");  // nothing there is nothing to do
}

}  // namespace
}  // namespace accordion
