#pragma once

#include "op/attention.h"
#include "op/attention_path.h"

/// libtorch's flash kernels, FlashAttention-2 on CUDA.
namespace accordion::op {

/// Whether the CUDA kernel can take these queries and this form: bf16 or f16, heads of a multiple of 8 up to 256, no
/// soft cap and no ALiBi; tried once, as GPUs before Ampere cannot.
bool cuda_flash_works(const torch::Tensor& q, const AttentionForm& form);

/// Attention without autograd: see attend(). On processors plain causal only, and `first` and the form's window are not
/// looked at. On CUDA `first` holds the pieces, the form the window; gradients are the same on every run. Memory beside
/// the result: none forward; backward as many f32 gradients of one head's queries as there are multiprocessors (for
/// that every run gives the same), and dk and dv of each query head at hand.
AttentionResult attention_flash(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                const AttentionForm& form, const torch::Tensor& first);
AttentionGradients attention_flash_backward(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                            const AttentionForm& form, const torch::Tensor& first,
                                            const AttentionResult& result, const torch::Tensor& doutput,
                                            const KeyGradientSums* sums);

}  // namespace accordion::op
