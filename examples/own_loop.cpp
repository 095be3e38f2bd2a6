// A training loop of your own, with Accordion's length schedule in it: sequence length warmup in four lines, marked
// (*). The model and everything else are plain libtorch. Usage: own_loop TEXTFILE
#include <torch/torch.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "schedule/length.h"

namespace nn = torch::nn;
using torch::Tensor;

/// A language model over bytes: embedding, one layer of causal attention, a head.
struct ByteModelImpl : nn::Module {
  explicit ByteModelImpl(int64_t width) {
    embed = register_module("embed", nn::Embedding(256, width));
    position = register_module("position", nn::Embedding(256, width));
    qkv = register_module("qkv", nn::Linear(width, 3 * width));
    mlp =
        register_module("mlp", nn::Sequential(nn::Linear(width, 4 * width), nn::GELU(), nn::Linear(4 * width, width)));
    norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({width})));
    head = register_module("head", nn::Linear(width, 256));
  }
  Tensor forward(const Tensor& tokens) {  // (rows, length) -> (rows, length, 256)
    auto x = embed(tokens) + position(torch::arange(tokens.size(1)));
    auto parts = qkv(norm(x)).chunk(3, -1);
    auto heads = [](const Tensor& part) { return part.unflatten(-1, {4, -1}).transpose(1, 2); };
    auto mixed = at::scaled_dot_product_attention(heads(parts[0]), heads(parts[1]), heads(parts[2]), {}, 0.0, true);
    x = x + mixed.transpose(1, 2).flatten(2);
    return head(x + mlp->forward(x));
  }
  nn::Embedding embed{nullptr}, position{nullptr};
  nn::Linear qkv{nullptr}, head{nullptr};
  nn::Sequential mlp{nullptr};
  nn::LayerNorm norm{nullptr};
};
TORCH_MODULE(ByteModel);

Tensor read_bytes(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  TORCH_CHECK(text.size() > 4096, path, " is missing or shorter than 4,096 bytes");
  return torch::from_blob(text.data(), {static_cast<int64_t>(text.size())}, torch::kUInt8).to(torch::kLong);
}

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: own_loop TEXTFILE\n", stderr), 2;
  torch::manual_seed(1);
  auto text = read_bytes(argv[1]);
  ByteModel model(64);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(3e-3));

  // From length 16 to 256 over the first 60 % of 80k tokens, 1,024 tokens a step.
  accordion::LengthScheduleRecipe recipe{.max_length = 256};
  recipe.segments = {{.ramp = accordion::Ramp::linear, .from = 16, .to = 256, .until = {0.6}}, {.length = 256}};
  accordion::LengthSchedule schedule(recipe, {.tokens = 1024}, {.tokens = 80'000});  // (*)

  int64_t begin = 0;
  for (accordion::Counters done; !schedule.finished(done);) {  // (*)
    auto plan = schedule.at(done);                             // (*)
    auto count = plan.tokens();
    if (begin + count + 1 > text.size(0)) begin = 0;
    auto inputs = text.narrow(0, begin, count).view({plan.rows, plan.length});
    auto targets = text.narrow(0, begin + 1, count);
    begin += count;

    auto loss = nn::functional::cross_entropy(model(inputs).flatten(0, 1), targets);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    done = accordion::advance(done, plan, 0);  // (*)
    if (done.steps % 10 == 0)
      std::printf("step %3ld | length %3ld x %3ld | loss %.3f\n", done.steps, plan.length, plan.rows,
                  loss.item<double>());
  }
}
