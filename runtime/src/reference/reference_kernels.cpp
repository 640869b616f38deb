#include "reference/kernels.h"

#include "kernel_sets.h"

namespace minim {
namespace {

template <class... Args>
void add(Backend& backend) {
  (backend.add_kernel<Args>(host_kernel<Args>([](const Args& args) { reference::run(args); }), "reference"), ...);
}

}  // namespace

void add_reference_kernels(Backend& backend) {
  add<Conv2dForward, Conv2dBackwardData, Conv2dBackwardWeights>(backend);
  add<LinearForward, LinearBackwardData, LinearBackwardWeights>(backend);
  add<BatchNormMoments, BatchNormForward, BatchNormInference, BatchNormSums, BatchNormBackward>(backend);
  add<LayerNormForward, LayerNormBackwardData, LayerNormBackwardWeights>(backend);
  add<EmbeddingForward, EmbeddingBackward>(backend);
  add<AddBias, BiasGradient>(backend);
  add<ReluForward, ReluBackward, Sum, Cast, Zero>(backend);
  add<NonlinearityForward, NonlinearityBackward>(backend);
  add<ConcatForward, ConcatBackward, DropoutForward, DropoutBackward>(backend);
  add<MaxPoolForward, MaxPoolBackward, AveragePoolForward, AveragePoolBackward>(backend);
  add<GlobalAveragePoolForward, GlobalAveragePoolBackward>(backend);
  add<LocalResponseNormForward, LocalResponseNormBackward>(backend);
  add<SoftmaxCrossEntropyForward, SoftmaxCrossEntropyBackward>(backend);
  add<CommitState, CountExponents>(backend);
}

}  // namespace minim
