#pragma once

#include <cstdint>

/// Fused kernels for processors, compiled for each instruction set and chosen at run time (Google Highway). All take
/// plain pointers to contiguous rows; values are f32 or bf16, the arithmetic is f32, narrowing to bf16 rounds to
/// nearest even. Each gives the same bits whatever the number of threads.
namespace accordion::op::cpu {

struct bf16 {
  uint16_t bits;
};

/// Pointers to values of a type known at run time.
enum class Type { f32, bf16 };

// ---- activation.cpp: n values

void gelu(Type type, const void* x, void* y, int64_t n, bool tanh);
/// dx = dy * gelu'(x)
void gelu_backward(Type type, const void* x, const void* dy, void* dx, int64_t n, bool tanh);
enum class Gate { silu, gelu_tanh };
/// y = f(gate) * up
void gated(Type type, Gate f, const void* gate, const void* up, void* y, int64_t n);
void gated_backward(Type type, Gate f, const void* gate, const void* up, const void* dy, void* dgate, void* dup,
                    int64_t n);

// ---- norm.cpp: N rows of D values

struct NormShape {
  int64_t N, D;
  bool centred;   ///< layer norm; else RMS norm, which has no mean and no bias
  bool plus_one;  ///< values are multiplied by 1 + weight
  double epsilon;
};
/// bias may be null; mean (N) and rstd (N) are written, mean only where centred.
void norm(Type type, const NormShape& shape, const void* x, const void* weight, const void* bias, void* y, float* mean,
          float* rstd);
/// dweight and dbias (D), in f32, are written where not null.
void norm_backward(Type type, const NormShape& shape, const void* x, const void* weight, const float* mean,
                   const float* rstd, const void* dy, void* dx, float* dweight, float* dbias);

// ---- rotary.cpp

struct RotaryShape {
  int64_t B, T, H, E;
  int64_t half;                                   ///< R/2: pairs (i, i + half) turn, the rest passes through
  int64_t row_stride, token_stride, head_stride;  ///< of x, in values; y is contiguous
  bool angles_by_row;                             ///< cos and sin are (B,T,R/2), else (T,R/2)
};
/// `sign` -1 turns back.
void rotate(Type type, const RotaryShape& shape, const void* x, const float* cos, const float* sin, float sign,
            void* y);

// ---- loss.cpp: N rows of V logits

struct LossForm {
  float factor;            ///< of the gradients, not of the losses
  float soft_cap;          ///< y = cap * tanh(logits / cap); 0: y = logits
  double z_loss;           ///< + z_loss * log(sum e^y)^2
  double label_smoothing;  ///< this share of the target is spread over all V
};
/// loss (N), times weights (N) where not null. Where `gradient` is not null it gets the gradient of the losses times
/// the factor; it may be `logits`.
void softmax_loss(Type type, const LossForm& form, const void* logits, const int64_t* targets, const float* weights,
                  int64_t N, int64_t V, float* loss, void* gradient);

// ---- update.cpp

struct AdamWFactors {
  float keep;  ///< 1 - lr * weight decay
  float beta1, beta2;
  float step;             ///< lr / (1 - beta1^t)
  float root_correction;  ///< 1 / sqrt(1 - beta2^t)
  float epsilon;
  float gradient_scale;
};
/// `weight` gets the master's value in bf16 where it is not null.
void adamw(const AdamWFactors& factors, float* master, bf16* weight, const float* gradient, float* first, float* second,
           int64_t n);
/// y += factor * x
void add(Type type, const void* x, float factor, float* y, int64_t n);
/// y = factor * x, in the type of both; may be the same place
void scale(Type type, const void* x, float factor, void* y, int64_t n);
/// sums (D) += sum over N rows of x (N,D)
void add_column_sums(Type type, const void* x, int64_t N, int64_t D, float* sums);
/// table (V,D) row ids[i] += x row i, in the order of i, but for ids[i] = skip
void add_rows(Type type, const void* x, const int64_t* ids, int64_t N, int64_t D, int64_t skip, float* table);
double sum_of_squares(Type type, const void* x, int64_t n);

}  // namespace accordion::op::cpu
