#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "memory/meter.h"
#include "op/activation.h"
#include "op/attention_path.h"
#include "op/gradient.h"
#include "op/linear.h"
#include "op/norm.h"
#include "op/rotary.h"

// The whole transformer. Letters in shape comments: model/shapes.h.
namespace accordion {
namespace {

/// Press et al. 2022: slopes 2^(-8/n), 2^(-16/n), ... for n heads; for other numbers of heads those of the next
/// power of two, every second one first (transformers' build_mpt_alibi_tensor).
torch::Tensor alibi_slopes(int64_t heads) {
  int64_t n = 1;
  while (n < heads) n *= 2;
  auto slopes = torch::arange(1, n + 1).to(torch::kFloat).mul(8 / static_cast<double>(n)).exp2().reciprocal();  // (n)
  if (n != heads) slopes = torch::cat({slopes.slice(0, 1, n, 2), slopes.slice(0, 0, n, 2)}).slice(0, 0, heads);
  return slopes.contiguous();  // (H)
}

/// Su et al. 2021, section 3.2.2: angle per position of each rotated pair, in f32 as transformers computes it, with
/// linear or Llama 3.1's scaling.
torch::Tensor rotary_frequencies(const ModelConfig& config) {
  const auto rotated = static_cast<int64_t>(static_cast<double>(config.head_width) * config.rotary_fraction);
  const auto exponents =
      torch::arange(0, rotated, 2).to(torch::kFloat) / static_cast<double>(rotated);  // (R/2), R even
  const auto frequencies = torch::pow(config.rotary_base, exponents).reciprocal();    // (R/2)
  const auto& scaling = config.rotary_scaling;
  using Kind = ModelConfig::RotaryScaling::Kind;
  switch (scaling.kind) {
    case Kind::none:
      return frequencies;
    case Kind::linear:
      return frequencies / scaling.factor;
    case Kind::llama3:
      break;
  }
  // Slow waves are stretched by `factor`, fast ones are left alone, those between go over smoothly.
  const auto original = static_cast<double>(scaling.original_positions);
  const auto wavelength = 2 * M_PI / frequencies;  // (R/2) in positions
  const auto share = (original / wavelength - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency);
  const auto between = (1 - share) * frequencies / scaling.factor + share * frequencies;
  const auto slow = wavelength > original / scaling.low_frequency;
  const auto fast = wavelength < original / scaling.high_frequency;
  return torch::where(fast, frequencies, torch::where(slow, frequencies / scaling.factor, between));
}

torch::Tensor linear(const torch::Tensor& x, const auto& weights, bool read = true) {
  return op::linear(x, weights.weight, weights.bias, read);
}

/// Lets the backward pass say when it has come to what follows x.
void notify(const torch::Tensor& x, const Pass& pass, int64_t layer) {
  if (!pass.on_backward || !x.requires_grad()) return;
  x.register_hook([call = pass.on_backward, layer](const torch::Tensor&) { call(layer); });
}

/// Puts `fresh` (B,T,K,E) behind the `length` tokens that `held` (B,capacity,K,E) has in use; -> (B,length+T,K,E).
torch::Tensor append(torch::Tensor& held, const torch::Tensor& fresh, int64_t length) {
  const int64_t total = length + fresh.size(1);
  if (!held.defined() || held.size(1) < total) {
    auto sizes = fresh.sizes().vec();
    sizes[1] = std::max(total, 2 * length);  // doubling: each token is copied twice at most on average
    auto larger = torch::empty(sizes, fresh.options());
    if (length > 0) larger.narrow(1, 0, length).copy_(held.narrow(1, 0, length));
    held = larger;
  }
  held.narrow(1, length, fresh.size(1)).copy_(fresh);
  return held.narrow(1, 0, total);
}

}  // namespace

Transformer::Transformer(ModelConfig config, torch::Dtype dtype, torch::Device device)
    : config_(std::move(config)), dtype_(dtype), device_(device) {
  const memory::KindScope kind(memory::Kind::weights);
  const auto& c = config_;
  embedding_ = add("embedding.weight", {c.vocabulary, c.width});
  if (c.position == PositionKind::learned) position_table_ = add("positions.weight", {c.max_positions, c.width});
  for (int64_t l = 0; l < c.layers; ++l) {
    const auto name = "layers." + std::to_string(l) + ".";
    Layer layer;
    layer.attention_norm = add_norm(name + "attention_norm");
    layer.query = add_linear(name + "query", c.heads * c.head_width, c.width, c.qkv_bias);
    layer.key = add_linear(name + "key", c.kv_heads * c.head_width, c.width, c.qkv_bias);
    layer.value = add_linear(name + "value", c.kv_heads * c.head_width, c.width, c.qkv_bias);
    layer.output = add_linear(name + "output", c.width, c.heads * c.head_width, c.output_bias);
    layer.mlp_norm = add_norm(name + "mlp_norm");
    if (c.gated()) layer.gate = add_linear(name + "gate", c.inner, c.width, c.mlp_bias);
    layer.up = add_linear(name + "up", c.inner, c.width, c.mlp_bias);
    layer.down = add_linear(name + "down", c.width, c.inner, c.mlp_bias);
    if (c.post_norms) {
      layer.attention_post_norm = add_norm(name + "attention_post_norm");
      layer.mlp_post_norm = add_norm(name + "mlp_post_norm");
    }
    layers_.push_back(std::move(layer));
  }
  final_norm_ = add_norm("final_norm");
  if (!c.tied_head) head_ = add("head.weight", {c.vocabulary, c.width});
  if (c.position == PositionKind::rotary) rotary_frequencies_ = rotary_frequencies(c).to(device);
  if (c.position == PositionKind::alibi) alibi_slopes_ = alibi_slopes(c.heads).to(device);
}

torch::Tensor Transformer::add(const std::string& name, std::vector<int64_t> shape) {
  weights_.emplace_back(name, torch::empty(shape, torch::dtype(dtype_).device(device_)));
  return weights_.back().second;
}

Transformer::Norm Transformer::add_norm(const std::string& name) {
  Norm norm;
  norm.weight = add(name + ".weight", {config_.width});
  if (config_.norm_bias) norm.bias = add(name + ".bias", {config_.width});
  return norm;
}

Transformer::Linear Transformer::add_linear(const std::string& name, int64_t outputs, int64_t inputs, bool bias) {
  Linear linear;
  linear.weight = add(name + ".weight", {outputs, inputs});
  if (bias) linear.bias = add(name + ".bias", {outputs});
  return linear;
}

void Transformer::initialise(int64_t seed) {
  const torch::NoGradGuard guard;
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  const double residual = config_.family == Family::gpt2 ? std::sqrt(2.0 * static_cast<double>(config_.layers)) : 1;
  for (auto& [name, weight] : weights_) {
    const auto ends = [&name = name](const std::string& end) {
      return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
    };
    if (weight.dim() == 1) {
      weight.fill_(ends(".bias") || config_.norm_plus_one ? 0 : 1);
      continue;
    }
    const bool into_residual = ends(".output.weight") || ends(".down.weight");
    const double deviation = config_.initializer_range / (into_residual ? residual : 1);
    weight.copy_(torch::empty(weight.sizes(), torch::kFloat).normal_(0, deviation, generator));
    if (name == "embedding.weight" && config_.pad >= 0) weight[config_.pad].zero_();
  }
}

void Transformer::reach(int64_t positions) {
  if (config_.position == PositionKind::learned) return;
  config_.max_positions = std::max(config_.max_positions, positions);
}

void Transformer::make_trainable(bool main_gradients) {
  const memory::KindScope kind(memory::Kind::gradients);
  for (auto& item : weights_) op::make_parameter(item.second, main_gradients);
}

const torch::Tensor& Transformer::head_weight() const { return config_.tied_head ? embedding_ : head_; }

torch::Tensor Transformer::residual(const torch::Tensor& ids, const Pass& pass) const {
  const int64_t length = ids.size(1), past = pass.cache ? pass.cache->length : 0;
  TORCH_CHECK(!pass.cache || pass.pieces.empty(), "a pass with a cache cannot have pieces");
  TORCH_CHECK(config_.position != PositionKind::learned || past + length <= config_.max_positions, "the model has ",
              config_.max_positions, " positions");
  const auto positions = pass.positions.defined()
                             ? pass.positions                                                                   // (B,T)
                             : torch::arange(past, past + length, torch::dtype(torch::kLong).device(device_));  // (T)
  const auto context = std::make_shared<Context>();
  context->cache = pass.cache;
  context->fold = pass.fold;
  context->form.scale = config_.attention_scale.value_or(1 / std::sqrt(static_cast<double>(config_.head_width)));
  context->form.soft_cap = config_.attention_soft_cap;
  context->form.alibi_slopes = alibi_slopes_;
  context->form.pieces = pass.pieces;
  context->positions = positions;
  if (pass.fold.by_queries()) {
    for (int64_t l = 0; l < config_.layers; ++l) {
      auto form = context->form;
      form.window = config_.window_of(l);
      auto& first = context->first[form.window];
      if (!first.defined()) first = op::first_keys(form, ids.size(0), length, length);  // (B,T)
    }
  } else if (config_.position == PositionKind::rotary) {
    std::tie(context->cos, context->sin) = angles(positions);
  }

  auto x = op::embedding(ids, embedding_, config_.pad);  // (B,T,D)
  if (config_.embedding_scale != 1) x = x * torch::tensor(config_.embedding_scale, torch::kFloat).to(dtype_);
  if (config_.position == PositionKind::learned) x = x + op::embedding(positions, position_table_);
  for (size_t l = 0; l < layers_.size(); ++l) {
    if (pass.before_layer) pass.before_layer();
    notify(x, pass, static_cast<int64_t>(l));
    x = layer(x, l, context);
  }
  notify(x, pass, config_.layers);
  if (pass.cache) pass.cache->length += length;
  return x;  // (B,T,D)
}

/// cos and sin of the rotation at each position: (B,T) or (T) -> (B,T,R/2) or (T,R/2).
std::pair<torch::Tensor, torch::Tensor> Transformer::angles(const torch::Tensor& positions) const {
  const auto angles = positions.unsqueeze(-1).to(torch::kFloat) * rotary_frequencies_;
  return {angles.cos(), angles.sin()};
}

/// A layer as the pass's fold has it: plainly, computed again in the backward pass, or that by chunks of queries.
torch::Tensor Transformer::layer(const torch::Tensor& x, size_t l, const SharedContext& context) const {
  const auto& fold = context->fold;
  const auto& anchor = layers_[l].query.weight;
  if (!fold.recomputes(l) || context->cache) return block(x, l, context, {}, Want::values);
  if (!fold.by_queries()) {
    const auto whole = [=, this](const auto& inputs, Want want) { return block(inputs[0], l, context, {}, want); };
    return memory::by_chunks(whole, {x}, x.size(0), anchor, Want::values, fold.store);
  }
  memory::QueryPart part;
  part.row = {x.size(1), config_.heads, config_.kv_heads, config_.head_width};
  part.keys = [=, this](const torch::Tensor& rows, const Chunk& chunk) {
    const auto& weights = layers_[l];
    const auto [k, v] = keys(norm(rows, weights.attention_norm), weights, *context, chunk, Want::values);
    chunk.row->put(k, v, chunk.begin);
  };
  part.layer = [=, this](const torch::Tensor& rows, const Chunk& chunk, Want want) {
    return block(rows, l, context, chunk, want);
  };
  return memory::by_queries(part, x, fold, anchor);
}

/// The layer itself, over all tokens or a chunk of one row: its attention and its MLP, each with norm and residual.
torch::Tensor Transformer::block(const torch::Tensor& x, size_t l, const SharedContext& context, const Chunk& chunk,
                                 Want want) const {
  const auto& fold = context->fold;
  const auto& weights = layers_[l];
  const memory::Part attend = [=, &weights, this](const auto& inputs, Want) {
    return inputs[0] + attention(norm(inputs[0], weights.attention_norm), l, *context, chunk);
  };
  const memory::Part feed_forward = [=, &weights, this](const auto& inputs, Want how) {
    return inputs[0] + mlp(norm(inputs.back(), weights.mlp_norm), weights, how);
  };
  const bool attend_again = fold.recompute == Recompute::attention && !context->cache;
  const auto attended =
      attend_again ? memory::by_chunks(attend, {x}, x.size(0), weights.query.weight) : attend({x}, Want::values);
  std::vector<torch::Tensor> inputs{attended};
  if (config_.parallel_residual) inputs.push_back(x);
  if (fold.mlp == 0 && fold.recompute != Recompute::mlp) return feed_forward(inputs, want);
  for (auto& input : inputs) input = input.flatten(0, 1);  // (N,D)
  const int64_t mini_sequence = fold.mlp > 0 ? fold.mlp : inputs[0].size(0);
  return memory::by_chunks(feed_forward, inputs, mini_sequence, weights.down.weight, want).view(x.sizes());
}

/// Keys and values: x (B,T,D) -> (B,T,K,E) each. In a replay by chunks they are in the chunk's row already.
std::pair<torch::Tensor, torch::Tensor> Transformer::keys(const torch::Tensor& x, const Layer& weights,
                                                          const Context& context, const Chunk& chunk, Want want) const {
  const int64_t B = x.size(0), T = x.size(1), K = config_.kv_heads, E = config_.head_width;
  const bool read = want == Want::values;
  const auto k = linear(x, weights.key, read).view({B, T, K, E});
  return {rotate(k, context, chunk), linear(x, weights.value, read).view({B, T, K, E})};
}

torch::Tensor Transformer::rotate(const torch::Tensor& x, const Context& context, const Chunk& chunk) const {
  if (config_.position != PositionKind::rotary) return x;
  if (!chunk.row) return op::rotate_(x, context.cos, context.sin);
  const auto& all = context.positions;
  const auto row = all.dim() == 2 ? all[chunk.row_number] : all;  // (T)
  const auto [cos, sin] = angles(row.slice(0, chunk.begin, chunk.begin + x.size(1)));
  return op::rotate_(x, cos, sin);
}

torch::Tensor Transformer::attention(const torch::Tensor& x, size_t l, const Context& context,
                                     const Chunk& chunk) const {
  const auto& weights = layers_[l];
  const int64_t B = x.size(0), T = x.size(1), H = config_.heads, E = config_.head_width;
  const auto q = rotate(linear(x, weights.query).view({B, T, H, E}), context, chunk);  // (B,T,D) -> (B,T,H,E)
  auto [k, v] = keys(x, weights, context, chunk, chunk.row && chunk.row->replay ? Want::gradients : Want::values);
  if (auto* cache = context.cache) {
    cache->keys.resize(layers_.size());
    cache->values.resize(layers_.size());
    k = append(cache->keys[l], k, cache->length);    // (B,S,K,E)
    v = append(cache->values[l], v, cache->length);  // (B,S,K,E)
  }
  auto form = context.form;
  form.window = config_.window_of(static_cast<int64_t>(l));
  torch::Tensor y;  // (B,T,H,E)
  if (chunk.row) {
    const auto first = context.first.at(form.window).narrow(0, chunk.row_number, 1);  // (1,T)
    y = op::attention_chunk(q, k, v, chunk.begin, first, form, chunk.row);
  } else {
    y = op::attention(q, k, v, form).output;
  }
  const auto attended = linear(y.reshape({B, T, H * E}), weights.output);  // (B,T,D)
  return config_.post_norms ? norm(attended, weights.attention_post_norm) : attended;
}

/// `want` is for a replay: nothing needs the values of the last product to go back through it, but for a norm after it.
torch::Tensor Transformer::mlp(const torch::Tensor& x, const Layer& weights, Want want) const {
  const bool read = want == Want::values || config_.post_norms;
  const auto y = linear(activated(x, weights), weights.down, read);  // (B,T,F) -> (B,T,D)
  return config_.post_norms ? norm(y, weights.mlp_post_norm) : y;
}

torch::Tensor Transformer::activated(const torch::Tensor& x, const Layer& weights) const {
  const auto up = linear(x, weights.up);  // (B,T,D) -> (B,T,F)
  switch (config_.mlp) {
    case MlpKind::gelu:
      return op::gelu(up, false);
    case MlpKind::gelu_tanh:
      return op::gelu(up, true);
    case MlpKind::swiglu:
      return op::swiglu(linear(x, weights.gate), up);
    case MlpKind::geglu:
      return op::geglu(linear(x, weights.gate), up);
  }
  TORCH_CHECK(false, "unknown MLP");
}

torch::Tensor Transformer::norm(const torch::Tensor& x, const Norm& weights) const {
  switch (config_.norm) {
    case NormKind::layer_norm:
      return op::layer_norm(x, weights.weight, weights.bias, config_.norm_epsilon);
    case NormKind::rms_norm:
      return op::rms_norm(x, weights.weight, config_.norm_epsilon, config_.norm_plus_one);
  }
  TORCH_CHECK(false, "unknown norm");
}

}  // namespace accordion
