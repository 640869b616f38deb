#include "planning_backend.h"

#include "cuda/cuda_backend.h"
#include "cuda/kernels.h"

namespace minim::cuda {

std::unique_ptr<Backend> make_planning_backend(const GpuModel& model) {
  auto backend = std::make_unique<PlanningBackend>();
  add_own_kernels(*backend);
  add_convolution_workspaces(*backend, model);
  add_linear_workspaces(*backend);
  return backend;
}

}  // namespace minim::cuda
