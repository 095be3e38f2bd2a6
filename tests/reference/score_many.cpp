// Scores one sequence with each of many models in one process, since a process takes longer to start than a tiny model
// to score: score_many TOKENS.json MODEL... prints {"MODEL": {"scores": [...]} | {"error": "..."}}.
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "eval/score.h"
#include "model/weights.h"

int main(int count, char** arguments) {
  using namespace accordion;
  at::set_num_threads(1);
  const auto ids = nlohmann::json::parse(read_file(arguments[1])).get<std::vector<int64_t>>();
  auto results = nlohmann::json::object();
  for (int i = 2; i < count; ++i) {
    auto& result = results[arguments[i]];
    try {
      const auto model = open_model(find_model(arguments[i]), torch::kFloat, torch::kCPU, 1);
      result["scores"] = nlohmann::json::array();
      for (const auto& value : score(model, ids)) {
        if (value) result["scores"].push_back(*value);
      }
    } catch (const UserError& error) {
      result = {{"error", error.what()}};
    }
  }
  std::cout << results.dump() << "\n";
  return 0;
}
