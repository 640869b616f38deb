#include "cuda/cuda_backend.h"
#include "cuda/kernels.h"

namespace minim::cuda {
namespace {

/// What plans are compiled for and nothing runs on.
class PlanningBackend final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  bool host_accessible() const override { return false; }
  Buffer allocate(std::int64_t /*size_bytes*/, MemoryKind /*kind*/) override { refuse(); }
  std::unique_ptr<Stream> make_stream(std::string /*name*/) override { refuse(); }
  void copy(TensorView /*to*/, ConstTensorView /*from*/) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { throw InvalidArgument("a backend for planning has no device"); }
};

}  // namespace

std::unique_ptr<Backend> make_planning_backend(const GpuModel& model) {
  auto backend = std::make_unique<PlanningBackend>();
  add_own_kernels(*backend);
  add_convolution_workspaces(*backend, model);
  add_linear_workspaces(*backend);
  return backend;
}

}  // namespace minim::cuda
