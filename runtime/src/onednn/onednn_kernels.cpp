#include "kernel_sets.h"
#include "onednn/convolution.h"
#include "onednn/linear.h"

namespace minim {
namespace {

template <class Args>
void add(Backend& backend, int threads) {
  backend.add_kernel(prepared_host_kernel<Args>([threads](const Args& args) { return onednn::prepare(args, threads); },
                                                [threads](const Args& args) { return onednn::workspace_bytes(args, threads); }),
                     "cpu");
}

}  // namespace

void add_onednn_kernels(Backend& backend, int threads) {
  add<Conv2dForward>(backend, threads);
  add<Conv2dBackwardData>(backend, threads);
  add<Conv2dBackwardWeights>(backend, threads);
  add<LinearForward>(backend, threads);
  add<LinearBackwardData>(backend, threads);
  add<LinearBackwardWeights>(backend, threads);
}

}  // namespace minim
