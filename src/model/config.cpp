#include "model/config.h"

namespace accordion {

int64_t ModelConfig::layer_matmul_parameters() const {
  const int64_t attention = width * head_width * (2 * heads + 2 * kv_heads);  // q and output, k and v
  const int64_t matrices = gated() ? 3 : 2;
  return layers * (attention + matrices * width * inner);
}

int64_t ModelConfig::parameters() const {
  const int64_t norm_values = width * (norm_bias ? 2 : 1);
  int64_t layer_vectors = (post_norms ? 4 : 2) * norm_values;
  if (qkv_bias) layer_vectors += head_width * (heads + 2 * kv_heads);
  if (output_bias) layer_vectors += width;
  if (mlp_bias) layer_vectors += width + inner * (gated() ? 2 : 1);
  const int64_t table = position == PositionKind::learned ? max_positions * width : 0;
  const int64_t tables = vocabulary * width * (tied_head ? 1 : 2) + table;
  return tables + layer_matmul_parameters() + layers * layer_vectors + norm_values;
}

}  // namespace accordion
