#include <algorithm>
#include <cmath>

#include "bench/op_parts.h"
#include "op/attention_path.h"

namespace accordion::bench {
namespace {

constexpr int64_t kHeadWidth = 64;
constexpr int64_t kTokens = 4096;  // rows are so many that there are at least as many tokens
constexpr int64_t kWindow = 512, kPieces = 8;

enum class Way { plain, fused, flash, blocks };
constexpr const char* kWays[] = {"plain", "fused", "flash", "blocks"};

op::AttentionResult attend(Way way, const Tensor& q, const Tensor& k, const Tensor& v, const op::AttentionForm& form) {
  switch (way) {
    case Way::plain:
      return op::plain_attention(q, k, v, form);
    case Way::fused:
      return op::attention_by(op::AttentionPath::fused, q, k, v, form);
    case Way::flash:
      return op::attention_by(op::AttentionPath::flash, q, k, v, form);
    case Way::blocks:
      return op::attention_by(op::AttentionPath::blocks, q, k, v, form);
  }
  TORCH_CHECK(false, "unknown way");
}

/// The ways that work here: the kernels of our own do not on every machine, flash not in every form.
std::vector<Way> ways(const op::AttentionForm& form, bool causal, torch::ScalarType type) {
  const Tensor q = random({1, 1, 1, kHeadWidth}, type);
  op::AttentionForm one;
  one.soft_cap = 1;  // what flash cannot do
  std::vector<Way> all{Way::plain};
  if (op::attention_path(q, q, one) == op::AttentionPath::fused) all.push_back(Way::fused);
  const bool plain_causal = causal && !form.alibi_slopes.defined();
  if (device().is_cuda() ? op::cuda_flash_works(q, form) : plain_causal) all.push_back(Way::flash);
  all.push_back(Way::blocks);
  return all;
}

/// Pairs of a query and a key that it sees, in a row of T tokens.
double pairs(int64_t T, const op::AttentionForm& form) {
  const auto causal = [](int64_t n) { return as_double(n) * as_double(n + 1) / 2; };
  if (!form.pieces.empty()) {
    double sum = 0;
    for (const int64_t piece : form.pieces[0]) sum += causal(piece);
    return sum;
  }
  if (form.window == 0 || form.window >= T) return causal(T);
  return causal(form.window) + as_double(T - form.window) * as_double(form.window);
}

void add(std::vector<OpCase>& cases, const std::string& name, int64_t T, const op::AttentionForm& form,
         const OpSizes& sizes) {
  const int64_t B = form.pieces.empty() ? std::max<int64_t>(1, kTokens / T) : 1;
  const int64_t H = std::max<int64_t>(1, sizes.width / kHeadWidth), E = kHeadWidth;
  for (const Way way : ways(form, name == "causal", sizes.type)) {
    OpCase one{.name = name, .way = kWays[size_t(way)], .length = T};
    const double element = element_bytes(sizes);
    one.needs =
        as_double(12 * B * T * H * E) * element + (way == Way::plain ? 24.0 * as_double(B * H * T) * as_double(T) : 0);
    one.operations = 14.0 * as_double(B * H * E) * pairs(T, form);
    one.set_up = [=, type = sizes.type] {
      const Tensor q = random({B, T, H, E}, type), k = random({B, T, H, E}, type), v = random({B, T, H, E}, type);
      return both({q, k, v}, [=] { return attend(way, q, k, v, form).output; });
    };
    cases.push_back(std::move(one));
  }
}

}  // namespace

/// Causal attention at each length, and what masks save at the longest.
std::vector<OpCase> attention_cases(const OpSizes& sizes) {
  const auto lengths = lengths_or(sizes, {128, 256, 512, 1024, 2048, 4096, 8192});
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  op::AttentionForm causal;
  causal.scale = 1 / std::sqrt(as_double(kHeadWidth));
  std::vector<OpCase> cases;
  for (const int64_t T : lengths) add(cases, "causal", T, causal, sizes);
  op::AttentionForm window = causal, alibi = causal, pieces = causal;
  window.window = kWindow;
  const int64_t H = std::max<int64_t>(1, sizes.width / kHeadWidth);
  alibi.alibi_slopes = torch::pow(2.0, -torch::arange(1, H + 1, torch::kFloat)).to(device());
  pieces.pieces = {std::vector<int64_t>(kPieces - 1, longest / kPieces)};
  pieces.pieces[0].push_back(longest - (kPieces - 1) * (longest / kPieces));
  add(cases, "window 512", longest, window, sizes);
  add(cases, "alibi", longest, alibi, sizes);
  if (longest >= kPieces) add(cases, "8 pieces", longest, pieces, sizes);
  return cases;
}

}  // namespace accordion::bench
