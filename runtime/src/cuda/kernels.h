#pragma once

#include <string_view>

#include "cuda/cuda_device.h"
#include "minim/runtime/backend.h"
#include "minim/runtime/gpu_model.h"

namespace minim::cuda {

/// Name of this set of kernels.
inline constexpr std::string_view kSet = "cuda";

/// ReLU forward and backward.
void add_relu_kernels(Backend& backend);
/// Other nonlinearities, forward and backward.
void add_nonlinearity_kernels(Backend& backend);
/// Sum.
void add_sum_kernels(Backend& backend);
/// Cast.
void add_cast_kernels(Backend& backend);
/// Zero, CommitState.
void add_state_kernels(Backend& backend);
/// Concat forward and backward.
void add_concat_kernels(Backend& backend);
/// Dropout forward and backward.
void add_dropout_kernels(Backend& backend);
/// Global average pooling forward and backward.
void add_global_average_pool_kernels(Backend& backend);
/// Local response normalisation forward and backward.
void add_local_response_norm_kernels(Backend& backend);
/// Pooling over windows, forward and backward.
void add_pooling_kernels(Backend& backend);
/// Batch normalisation forward, in inference, and backward.
void add_batch_norm_kernels(Backend& backend);
void add_batch_norm_backward_kernels(Backend& backend);
/// Layer normalisation forward and both gradients.
void add_layer_norm_kernels(Backend& backend);
/// Embedding forward and backward.
void add_embedding_kernels(Backend& backend);
/// A bias that no product takes along, and its gradient.
void add_bias_kernels(Backend& backend);
/// Softmax cross-entropy forward and backward.
void add_loss_kernels(Backend& backend);
/// Counting of exponents.
void add_exponent_kernels(Backend& backend);
/// All of these.
void add_own_kernels(Backend& backend);
/// Convolution forward and both gradients, by cuDNN.
void add_convolution_kernels(Backend& backend, const std::shared_ptr<CudaDevice>& device, const CudaOptions& options);
/// Products with a weight matrix, forward and both gradients, by cuBLASLt.
void add_linear_kernels(Backend& backend, std::shared_ptr<const CudaDevice> device);

/// Kernels that cannot be prepared and only tell their workspace, on a device that need not be here.
void add_convolution_workspaces(Backend& backend, const GpuModel& model);
void add_linear_workspaces(Backend& backend);

}  // namespace minim::cuda
