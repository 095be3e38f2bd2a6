#include "bench/op_parts.h"
#include "memory/fold.h"
#include "op/activation.h"
#include "op/head_loss.h"
#include "op/linear.h"
#include "op/norm.h"

// What goes by mini-sequences, by their number: the shape of the tables in Luo et al. 2024, appendix (time and memory
// of an MLP and of an LM head, by length and number of mini-sequences).
namespace accordion::bench {
namespace {

const std::vector<int64_t> kLengths{1024, 2048, 4096, 8192, 20000, 40000, 80000};

int64_t part_of(int64_t tokens, int64_t count) { return (tokens + count - 1) / count; }

/// A case for every length and number of mini-sequences.
std::vector<OpCase> table(const std::string& name, const std::vector<int64_t>& lengths,
                          const std::vector<int64_t>& counts,
                          const std::function<void(OpCase& one, int64_t N, int64_t M)>& fill) {
  std::vector<OpCase> cases;
  for (const int64_t N : lengths) {
    for (const int64_t M : counts) {
      OpCase one{.name = name, .way = M == 1 ? "plain" : "M=" + std::to_string(M), .length = N, .mini_sequences = M};
      fill(one, N, M);
      cases.push_back(std::move(one));
    }
  }
  return cases;
}

/// The MLP of a layer as the model runs it, with its norm and residual.
std::function<void()> mlp(int64_t N, int64_t M, int64_t D, int64_t F, torch::ScalarType type) {
  const Tensor x = random({N, D}, type), scale = parameter({D}, type), gate = parameter({F, D}, type),
               up = parameter({F, D}, type), down = parameter({D, F}, type);
  const memory::Part part = [=](const std::vector<Tensor>& inputs, memory::Want want) {
    const Tensor h = op::rms_norm(inputs[0], scale, 1e-5);                    // (C,D)
    const Tensor inner = op::swiglu(op::linear(h, gate), op::linear(h, up));  // (C,F)
    return inputs[0] + op::linear(inner, down, {}, want == memory::Want::values);
  };
  return both({x}, [=] {
    return M == 1 ? part({x}, memory::Want::values) : memory::by_chunks(part, {x}, part_of(N, M), down);
  });
}

/// The head and its loss: all logits by libtorch's operators, or a step by chunks, which overwrites its argument (the
/// time of a run does not depend on the values).
std::function<void()> head(int64_t N, int64_t D, int64_t V, torch::ScalarType type, const op::HeadForm& form) {
  const Tensor hidden = random({N, D}, type, form.chunk == 0), weight = parameter({V, D}, type);
  const Tensor targets = torch::randint(V, {N}, torch::dtype(torch::kLong).device(device()));
  if (form.chunk == 0) return both({hidden}, [=] { return op::head_loss(hidden, weight, targets, form); });
  return [=] {
    Tensor consumed = hidden;
    op::head_step(consumed, weight, targets, form);
  };
}

/// Bytes that the head takes, roughly: a chunk's logits and as much for the library's own copies, or four f32 tensors
/// like all of them.
double head_needs(int64_t N, int64_t chunk, const OpSizes& sizes) {
  const double element = element_bytes(sizes), D = as_double(sizes.width), V = as_double(sizes.vocabulary);
  const double logits = chunk == 0 ? as_double(N) * V * (element + 16) : as_double(chunk) * V * element * 2.25;
  return logits + as_double(N) * D * element * 3 + V * D * (2 * element + 4);
}

}  // namespace

std::vector<OpCase> mlp_cases(const OpSizes& sizes) {
  const int64_t D = sizes.width, F = sizes.inner;
  const double element = element_bytes(sizes);
  return table("mlp", lengths_or(sizes, kLengths), {1, 2, 4, 8, 16}, [=, type = sizes.type](auto& one, auto N, auto M) {
    one.needs = element * as_double(8 * N * D + 6 * part_of(N, M) * F) + (element + 4) * as_double(3 * D * F);
    one.operations = as_double(18 * N) * as_double(D * F);
    one.set_up = [=] { return mlp(N, M, D, F, type); };
  });
}

std::vector<OpCase> head_cases(const OpSizes& sizes) {
  return table("head", lengths_or(sizes, kLengths), {1, 2, 4, 8, 16, 32}, [=](auto& one, auto N, auto M) {
    const int64_t D = sizes.width, V = sizes.vocabulary;
    const op::HeadForm form{.chunk = M == 1 ? 0 : part_of(N, M), .denominator = as_double(N)};
    one.needs = head_needs(N, form.chunk, sizes);
    one.operations = as_double(6 * N) * as_double(D * V);
    one.set_up = [=, type = sizes.type] { return head(N, D, V, type, form); };
  });
}

std::vector<OpCase> loss_cases(const OpSizes& sizes) {
  std::vector<OpCase> cases;
  const int64_t D = sizes.width, V = sizes.vocabulary;
  for (const int64_t N : lengths_or(sizes, {4096})) {
    for (const bool options : {false, true}) {
      for (const int64_t chunk : {0, 1024}) {
        op::HeadForm form{.chunk = chunk, .denominator = as_double(N)};
        if (options) form = {chunk, as_double(N), 30, 1e-4, 0.1, torch::rand({N}, device())};
        OpCase one{.name = options ? "every option" : "cross-entropy",
                   .way = chunk == 0 ? "plain" : "chunk 1024",
                   .length = N};
        one.needs = head_needs(N, chunk, sizes) * (options ? 2 : 1);
        one.operations = as_double(6 * N) * as_double(D * V);
        one.set_up = [=, type = sizes.type] { return head(N, D, V, type, form); };
        cases.push_back(std::move(one));
      }
    }
  }
  return cases;
}

}  // namespace accordion::bench
