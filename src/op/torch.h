#pragma once

/// The part of libtorch that we use. <torch/torch.h> would bring modules, optimizers and data loaders too, and every
/// file would compile twice as long.
#include <torch/csrc/autograd/custom_function.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>
