#include "cpu/vector_kernels.h"

#include "kernel_sets.h"

namespace minim {

void add_vector_kernels(Backend& backend) {
  cpu::add_elementwise_kernels(backend);
  cpu::add_nonlinearity_kernels(backend);
  cpu::add_bias_kernels(backend);
  cpu::add_embedding_kernels(backend);
  cpu::add_batch_norm_kernels(backend);
  cpu::add_layer_norm_kernels(backend);
  cpu::add_dropout_kernels(backend);
  cpu::add_pooling_kernels(backend);
  cpu::add_local_response_norm_kernels(backend);
  cpu::add_loss_kernels(backend);
  cpu::add_exponent_kernels(backend);
}

}  // namespace minim
