#include "report/comparison.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "report/run_log.h"
#include "scratch.h"

namespace accordion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Comparisons : public Scratch {
 protected:
  /// A run of `last` of `total` steps, each of `seconds` and 1e9 FLOPs times it, evaluated at 64 and 128 at the end.
  std::string run(const std::string& name, int64_t last, int64_t total, double seconds, double loss) {
    RunLog log(folder / name, quiet);
    for (int64_t step = 1; step <= last; ++step) {
      const double at = seconds * static_cast<double>(step);
      log.step({.step = step,
                .total_steps = total,
                .tokens = 1024 * step,
                .length = step > last / 2 ? 128 : 64,
                .rows = 8,
                .loss = step == 2 ? NAN : loss + 1.0 / static_cast<double>(step),
                .seconds = at,
                .flops = 1e9 * at});
    }
    for (const int64_t length : {64, 128})
      log.evaluation(
          {.step = last, .tokens = 1024 * last, .length = length, .loss = loss + 1.0 / static_cast<double>(length)});
    return (folder / name).string();
  }
  static std::string message(const std::vector<std::string>& folders) {
    try {
      const Comparison comparison(folders);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Comparisons, JsonAgainstTheFirst) {
  const auto a = run("a", 10, 10, 2.0, 4.0), b = run("b", 10, 10, 1.0, 3.75);
  const auto json = Comparison({a, b + "/"}).json();
  EXPECT_EQ(json["runs"][0],
            (nlohmann::ordered_json{
                {"run", a},
                {"tokens", 10240},
                {"flops", 2e10},
                {"seconds", 20.0},
                {"eval", {{{"length", 64}, {"loss", 4.0 + 1.0 / 64}}, {{"length", 128}, {"loss", 4.0 + 1.0 / 128}}}}}));
  EXPECT_EQ(json["against_first"].dump(),
            nlohmann::ordered_json::array({{{"run", b},
                                            {"seconds_ratio", 0.5},
                                            {"flops_ratio", 0.5},
                                            {"loss_difference", {{"64", -0.25}, {"128", -0.25}}}}})
                .dump());
}

TEST_F(Comparisons, Text) {
  const Comparison comparison({run("constant", 10, 10, 2.0, 4.0), run("stretched", 10, 10, 1.0, 3.75)});
  EXPECT_EQ(comparison.text(),
            "run        tokens      FLOPs  seconds  loss at 64  loss at 128\n"
            "---------  ------  ---------  -------  ----------  -----------\n"
            "constant   10,240  2.000e+10     20.0      4.0156       4.0078\n"
            "stretched  10,240  1.000e+10     10.0      3.7656       3.7578\n"
            "\n"
            "against constant   FLOPs  seconds  loss at 64  loss at 128\n"
            "----------------  ------  -------  ----------  -----------\n"
            "stretched         50.0 %   50.0 %     -0.2500      -0.2500\n");
  EXPECT_THAT(comparison.caveats(), IsEmpty());
}

TEST_F(Comparisons, SaysWhatMakesFiguresHardToCompare) {
  const Comparison comparison({run("a", 10, 10, 2.0, 4.0), run("b", 8, 20, 1.0, 3.75)});
  EXPECT_THAT(comparison.caveats(),
              ElementsAre("b is not finished: step 8 of 20", "b trained 80.0 % of the tokens of a"));
}

TEST_F(Comparisons, Mistakes) {
  const auto a = run("a", 3, 3, 1, 4);
  put("empty/x", "");
  put("untrained/metrics.jsonl", "{\"type\":\"eval\",\"step\":0,\"tokens\":0,\"length\":64,\"loss\":6.0}\n");
  put("damaged/metrics.jsonl", "{\"type\":\"step\"\n");
  const auto at = [&](const char* name) { return (folder / name).string(); };
  EXPECT_THAT(message({a}), HasSubstr("two run folders"));
  EXPECT_THAT(message({a, a + "/"}), HasSubstr("named twice"));
  EXPECT_THAT(message({a, at("none")}), HasSubstr("no such folder"));
  EXPECT_THAT(message({a, at("empty")}), HasSubstr("not a run folder"));
  EXPECT_THAT(message({a, at("untrained")}), HasSubstr("nothing was trained yet"));
  EXPECT_THAT(message({a, at("damaged")}), HasSubstr("metrics.jsonl:1:1: not a record"));
}

TEST_F(Comparisons, ALineThatIsBeingWrittenIsNotReadYet) {
  const auto a = run("a", 3, 3, 1, 4);
  std::ofstream(folder / "a" / "metrics.jsonl", std::ios::app) << "{\"type\":\"st";
  EXPECT_EQ(read_run(a).last_step, 3);
}

TEST_F(Comparisons, FoldersOfOneNameKeepTheirPaths) {
  const auto text = Comparison({run("x/run", 3, 3, 1, 4), run("y/run", 3, 3, 1, 4)}).text();
  EXPECT_THAT(text, HasSubstr((folder / "x/run").string()));
}

TEST_F(Comparisons, PageStandsByItselfAndStaysSmall) {
  const auto page = Comparison({run("a", 5000, 5000, 2.0, 4.0), run("<b>", 5000, 5000, 1.0, 3.75)}).html();
  EXPECT_THAT(page, HasSubstr("new uPlot"));
  EXPECT_LT(page.size(), 500'000U);
  EXPECT_EQ(page.find("src="), std::string::npos);
  EXPECT_EQ(page.find("href="), std::string::npos);
  EXPECT_EQ(page.find("<b>\""), std::string::npos) << "a run's name must not become markup";
  EXPECT_EQ(page.find("ACCORDION_DATA"), std::string::npos);
}

TEST_F(Comparisons, APlotOfTheLengthKeepsItsTurns) {
  const auto page = Comparison({run("a", 5000, 5000, 2.0, 4.0), run("b", 50, 50, 1.0, 3.75)}).html();
  EXPECT_THAT(page, HasSubstr(R"("turns":{"step":[1,2501,5000])"));
  EXPECT_THAT(page, HasSubstr(R"("turns":{"step":[1,26,50])"));
}

TEST(Thinned, MeansOfGroupsWithoutSkippedSteps) {
  std::vector<RunPoint> points;
  for (int64_t i = 0; i < 10; ++i) points.push_back({.step = i, .loss = i == 3 ? NAN : static_cast<double>(i)});
  const auto means = thinned(points, 4);
  ASSERT_EQ(means.size(), 4U);
  EXPECT_EQ(means[0].loss, 0.5);  // 0 1
  EXPECT_EQ(means[1].loss, 3.0);  // 2 (3 was skipped) 4
  EXPECT_EQ(means[3].step, 9);
  EXPECT_EQ(thinned(points, 10).size(), 10U);
}

}  // namespace
}  // namespace accordion
