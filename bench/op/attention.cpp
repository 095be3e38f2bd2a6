#include "bench.h"
#include "op/attention_path.h"

namespace accordion::bench {

/// 4,096 tokens of 8 heads of width 64 at each length, by each path; and what masks save at the longest.
void add_attention() {
  constexpr int64_t N = 4096, H = 8, E = 64;
  const auto add_one = [](const std::string& name, op::AttentionPath path, int64_t length, op::AttentionForm form,
                          double share) {
    add("attention/" + name + "/" + std::to_string(length), [=](auto type) {
      const int64_t B = std::max<int64_t>(1, N / length);
      const auto make = [&] { return random({B, length, H, E}, type, true); };
      const Tensor q = make(), k = make(), v = make();
      const double pairs = double(B * H) * double(length) * double(length) / 2 * share;
      return Case{0, 14.0 * pairs * E, both([=] { return op::attention_by(path, q, k, v, form).output; })};
    });
  };
  op::AttentionForm causal;
  causal.scale = 0.125;
  for (int64_t length = 128; length <= 8192; length *= 2) {
    add_one("fused", op::AttentionPath::fused, length, causal, 1);
    add_one("flash", op::AttentionPath::flash, length, causal, 1);
    add_one("blocks", op::AttentionPath::blocks, length, causal, 1);
  }
  op::AttentionForm window = causal, alibi = causal, pieces = causal;
  window.window = 512;
  alibi.alibi_slopes = torch::pow(2.0, -torch::arange(1, H + 1, torch::kFloat));
  pieces.pieces = {std::vector<int64_t>(8, 1024)};
  add_one("fused window 512", op::AttentionPath::fused, 8192, window, 0.121);
  add_one("fused alibi", op::AttentionPath::fused, 8192, alibi, 1);
  add_one("fused 8 pieces", op::AttentionPath::fused, 8192, pieces, 0.125);
}

}  // namespace accordion::bench
