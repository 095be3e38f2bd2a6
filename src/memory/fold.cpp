#include "memory/fold.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "memory/meter.h"
#include "op/gradient.h"
#include "schedule/chunk.h"

namespace accordion::memory {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// Something that a function's context carries from its forward to its backward pass, beside tensors.
template <class T>
struct Held : torch::CustomClassHolder {
  explicit Held(T held) : value(std::move(held)) {}
  T value;
};

template <class T>
void hold(AutogradContext* context, const char* name, T value) {
  context->saved_data[name] = c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(value)));
}

template <class T>
T& held(AutogradContext* context, const char* name) {
  return c10::static_intrusive_pointer_cast<Held<T>>(context->saved_data[name].toCapsule())->value;
}

/// A tensor of this shape whose values are never read: one number for all.
Tensor unread(const Tensor& like) { return torch::empty({1}, like.options()).expand(like.sizes()); }

/// Runs `function` on leaves with the values of `inputs`, and back from `gradient`; -> the leaves' gradients. Gradients
/// of weights go where autograd leaves them: into `.grad`.
template <class Function>
variable_list replay(const Function& function, const variable_list& inputs, const Tensor& gradient) {
  const KindScope kind(Kind::workspace);
  variable_list leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_(true));
  Tensor result;
  {
    const torch::AutoGradMode with_gradients(true);
    result = function(leaves);
  }
  torch::autograd::backward({result}, {gradient});
  variable_list gradients;
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return gradients;
}

/// The inputs of a function until its backward pass: with autograd, or in a store.
void save(AutogradContext* context, const variable_list& inputs, const std::shared_ptr<LayerStore>& store) {
  if (!store) return context->save_for_backward(inputs);
  std::vector<std::shared_ptr<LayerStore::Away>> away;
  for (const Tensor& input : inputs) away.push_back(store->put(input));
  hold(context, "store", store);
  hold(context, "away", away);
}

variable_list saved(AutogradContext* context) {
  if (context->saved_data.count("store") == 0) return context->get_saved_variables();
  const auto away = std::move(held<std::vector<std::shared_ptr<LayerStore::Away>>>(context, "away"));
  TORCH_CHECK(!away.empty(), "a second backward pass through a folded layer whose inputs have been given back");
  variable_list inputs;
  for (const auto& each : away) inputs.push_back(held<std::shared_ptr<LayerStore>>(context, "store")->take(*each));
  return inputs;
}

struct ByChunks : torch::autograd::Function<ByChunks> {
  static Tensor forward(AutogradContext* context, const Part& part, int64_t chunk, Want want,
                        const std::shared_ptr<LayerStore>& store, const Tensor& /*anchor*/, at::TensorList all_inputs) {
    const variable_list inputs = all_inputs.vec();
    save(context, inputs, store);
    context->saved_data["chunk"] = chunk;
    hold(context, "part", part);
    return want == Want::gradients ? unread(inputs[0]) : values(part, chunk, inputs);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list inputs = saved(context);
    const Part part = held<Part>(context, "part");
    const int64_t chunk = context->saved_data["chunk"].toInt(), N = inputs[0].size(0);
    variable_list results{op::take_over(gradients)};  // becomes the gradient of the first input
    for (size_t i = 1; i < inputs.size(); ++i) results.push_back(torch::empty_like(inputs[i]));
    for (int64_t begin = 0; begin < N; begin += chunk) {
      const int64_t end = std::min(begin + chunk, N);
      variable_list slices;
      for (const Tensor& input : inputs) slices.push_back(input.slice(0, begin, end));
      const Tensor incoming = results[0].slice(0, begin, end);
      const variable_list found =
          replay([&](const variable_list& leaves) { return part(leaves, Want::gradients); }, slices, incoming);
      for (size_t i = 0; i < found.size(); ++i) results[i].slice(0, begin, end).copy_(found[i]);
    }
    results.insert(results.begin(), 5, Tensor());
    return results;
  }

  static Tensor values(const Part& part, int64_t chunk, const variable_list& inputs) {
    const int64_t N = inputs[0].size(0);
    if (chunk >= N) return part(inputs, Want::values);
    Tensor result = torch::empty_like(inputs[0], torch::MemoryFormat::Contiguous);
    const KindScope kind(Kind::workspace);
    for (int64_t begin = 0; begin < N; begin += chunk) {
      const int64_t end = std::min(begin + chunk, N);
      variable_list slices;
      for (const Tensor& input : inputs) slices.push_back(input.slice(0, begin, end));
      result.slice(0, begin, end).copy_(part(slices, Want::values));
    }
    return result;
  }
};

struct ByQueries : torch::autograd::Function<ByQueries> {
  using Rows = std::vector<std::shared_ptr<op::KeyedRow>>;

  static Tensor forward(AutogradContext* context, const QueryPart& part, const Fold& fold, const Tensor& /*anchor*/,
                        const Tensor& x) {
    const int64_t chunk = fold.attention > 0 ? fold.attention : x.size(1);
    Tensor result = torch::empty_like(x, torch::MemoryFormat::Contiguous);  // (B,T,D)
    Rows kept;
    for (int64_t b = 0; b < x.size(0); ++b) {
      const auto row = keyed_row(part, x);
      if (fold.keep_attention) row->keep_output();
      const KindScope kind(Kind::workspace);
      for (int64_t begin = 0; begin < x.size(1); begin += chunk) {
        const int64_t end = std::min(begin + chunk, x.size(1));
        result.slice(0, b, b + 1)
            .slice(1, begin, end)
            .copy_(part.layer(x.slice(0, b, b + 1).slice(1, begin, end), {b, begin, row}, Want::values));
      }
      if (fold.keep_attention) {
        row->keys = row->values = Tensor();
        kept.push_back(row);
      }
    }
    save(context, {x}, fold.store);
    context->saved_data["chunk"] = chunk;
    hold(context, "part", part);
    hold(context, "kept", kept);
    return result;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor x = saved(context)[0];
    const QueryPart part = held<QueryPart>(context, "part");
    const Rows kept = std::move(held<Rows>(context, "kept"));
    const int64_t chunk = context->saved_data["chunk"].toInt(), T = x.size(1);
    const Tensor dx = op::take_over(gradients);  // (B,T,D)
    const KindScope kind(Kind::workspace);
    for (int64_t b = 0; b < x.size(0); ++b) {
      const Tensor row_x = x.slice(0, b, b + 1), row_dx = dx.slice(0, b, b + 1);  // (1,T,D)
      const auto row = keyed_row(part, x);
      for (int64_t begin = 0; begin < T; begin += chunk) {
        part.keys(row_x.slice(1, begin, std::min(begin + chunk, T)), {b, begin, row});
      }
      if (!kept.empty()) {
        row->output = std::move(kept[size_t(b)]->output);
        row->lse = std::move(kept[size_t(b)]->lse);
      }
      row->begin_backward();
      for (int64_t begin = (T - 1) / chunk * chunk; begin >= 0; begin -= chunk) {
        const int64_t end = std::min(begin + chunk, T);
        const Tensor place = row_dx.slice(1, begin, end);  // (1,C,D)
        place.copy_(replay(
            [&](const variable_list& leaves) {
              return part.layer(leaves[0], {b, begin, row}, Want::gradients);
            },
            {row_x.slice(1, begin, end)}, place)[0]);
      }
    }
    return {Tensor(), Tensor(), Tensor(), dx};
  }

 private:
  static std::shared_ptr<op::KeyedRow> keyed_row(const QueryPart& part, const Tensor& x) {
    const KindScope kind(Kind::workspace);
    return std::make_shared<op::KeyedRow>(part.row, x.options().requires_grad(false));
  }
};

}  // namespace

Fold fold_of(const MemoryRecipe& recipe, int64_t width, int64_t rows, int64_t length,
             std::shared_ptr<LayerStore> store) {
  return {.recompute = recipe.recompute,
          .every = recipe.recompute_every,
          .mlp = layer_chunk(recipe.mini_sequence.mlp, width, rows * length),
          .attention = layer_chunk(recipe.mini_sequence.attention, width, length),
          .keep_attention = recipe.keep_attention,
          .store = std::move(store)};
}

Tensor by_chunks(const Part& part, const std::vector<Tensor>& inputs, int64_t chunk, const Tensor& anchor, Want want,
                 const std::shared_ptr<LayerStore>& store) {
  if (!torch::GradMode::is_enabled()) return ByChunks::values(part, chunk, inputs);
  return ByChunks::apply(part, chunk, want, store, anchor, at::TensorList(inputs));
}

Tensor by_queries(const QueryPart& part, const Tensor& x, const Fold& fold, const Tensor& anchor) {
  Fold how = fold;
  if (!torch::GradMode::is_enabled()) {  // nothing is kept for a backward pass
    how.keep_attention = false;
    how.store = nullptr;
  }
  return ByQueries::apply(part, how, anchor, x);
}

}  // namespace accordion::memory
