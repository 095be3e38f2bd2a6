#pragma once

#include "op/attention.h"
#include "op/torch.h"

/// The ways attention() can go, apart from each other for the tests and benchmarks.
namespace accordion::op {

enum class AttentionPath {
  fused,   ///< op/cpu/attention.h: our kernels, where they work
  flash,   ///< libtorch's flash kernels (see attention_flash()): on processors plain causal only
  blocks,  ///< tiles of libtorch's products: everything, everywhere
};

/// The path that attention() takes.
AttentionPath attention_path(const torch::Tensor& q, const torch::Tensor& k, const AttentionForm& form);

/// attention() by a given path, which must be able to.
AttentionResult attention_by(AttentionPath path, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                             const AttentionForm& form);

void check_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, const AttentionForm& form);

/// (B,T) int64 on the processor: the first key that each query sees. Window and pieces come to no more than this, since
/// every query sees all keys from there to its own position.
torch::Tensor first_keys(const AttentionForm& form, int64_t B, int64_t T, int64_t S);

/// Sums of the gradients of keys and values over several calls, f32 (f64 where the keys are): (B,K,S',E) with S' at
/// least S rounded up to a multiple of 64, the last two dimensions dense.
struct KeyGradientSums {
  torch::Tensor dk, dv;
};

struct AttentionGradients {
  torch::Tensor dq, dk, dv;  ///< dk and dv are undefined where they went into sums
};

/// The forward and backward passes without autograd. Every query t of row b sees keys [first[b][t], t + S - T]; `first`
/// (see first_keys) holds the form's window and pieces. Its window must be the same; its pieces are not looked at.
AttentionResult attend(AttentionPath path, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                       const AttentionForm& form, const torch::Tensor& first);
AttentionGradients attend_backward(AttentionPath path, const torch::Tensor& q, const torch::Tensor& k,
                                   const torch::Tensor& v, const AttentionForm& form, const torch::Tensor& first,
                                   const AttentionResult& result, const torch::Tensor& doutput,
                                   const KeyGradientSums* sums);

/// Whether the CUDA kernel can take these queries and this form: bf16 or f16, heads of a multiple of 8 up to 256, no
/// soft cap and no ALiBi; tried once, as GPUs before Ampere cannot.
bool cuda_flash_works(const torch::Tensor& q, const AttentionForm& form);

/// The path by libtorch's flash kernels, FlashAttention-2 on CUDA. On processors plain causal only, and `first` and the
/// form's window are not looked at. On CUDA `first` holds the pieces, the form the window; gradients are the same on
/// every run. Memory beside the result: none forward; backward as many f32 gradients of one head's queries as there are
/// multiprocessors (for that every run gives the same), and dk and dv of each query head at hand.
AttentionResult attention_flash(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                const AttentionForm& form, const torch::Tensor& first);
AttentionGradients attention_flash_backward(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                            const AttentionForm& form, const torch::Tensor& first,
                                            const AttentionResult& result, const torch::Tensor& doutput,
                                            const KeyGradientSums* sums);

/// The path by tiles of libtorch's products. lse (B,H,T); output (B,T,H,E).
AttentionResult attention_blocks(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                 const AttentionForm& form, const torch::Tensor& first);
AttentionGradients attention_blocks_backward(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                             const AttentionForm& form, const torch::Tensor& first,
                                             const AttentionResult& result, const torch::Tensor& doutput,
                                             const KeyGradientSums* sums);

}  // namespace accordion::op
