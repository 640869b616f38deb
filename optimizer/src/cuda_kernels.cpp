#include "cuda_kernels.h"

#include "minim/optimizer/update_rule.h"
#include "minim/runtime/cuda.h"

namespace minim {

bool add_cuda_kernels(Backend& backend) {
  if (backend.name() != "cuda") return false;
  using Add = void (*)(Backend&);
  if (!backend.has_kernel<ApplyUpdate>()) {
    reinterpret_cast<Add>(cuda_module_symbol("minim_add_cuda_optimizer_kernels"))(backend);
  }
  return true;
}

}  // namespace minim
