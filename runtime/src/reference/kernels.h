#pragma once

#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/bias.h"
#include "minim/runtime/kernels/convolution.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/embedding.h"
#include "minim/runtime/kernels/exponents.h"
#include "minim/runtime/kernels/layer_norm.h"
#include "minim/runtime/kernels/linear.h"
#include "minim/runtime/kernels/local_response_norm.h"
#include "minim/runtime/kernels/loss.h"
#include "minim/runtime/kernels/nonlinearity.h"
#include "minim/runtime/kernels/pooling.h"
#include "minim/runtime/kernels/state.h"

/// The contracts of `minim/runtime/kernels/`, written down as plain loops: the oracle that faster kernels are held against.
/// Sums are FP64 except where a contract fixes FP32 additions in a certain order.
namespace minim::reference {

void run(const Conv2dForward& args);
void run(const Conv2dBackwardData& args);
void run(const Conv2dBackwardWeights& args);

void run(const LinearForward& args);
void run(const LinearBackwardData& args);
void run(const LinearBackwardWeights& args);

void run(const BatchNormMoments& args);
void run(const BatchNormForward& args);
void run(const BatchNormInference& args);
void run(const BatchNormSums& args);
void run(const BatchNormBackward& args);

void run(const LayerNormForward& args);
void run(const LayerNormBackwardData& args);
void run(const LayerNormBackwardWeights& args);

void run(const EmbeddingForward& args);
void run(const EmbeddingBackward& args);

void run(const AddBias& args);
void run(const BiasGradient& args);

void run(const ReluForward& args);
void run(const ReluBackward& args);
void run(const NonlinearityForward& args);
void run(const NonlinearityBackward& args);
void run(const Sum& args);
void run(const Cast& args);
void run(const Zero& args);
void run(const ConcatForward& args);
void run(const ConcatBackward& args);
void run(const DropoutForward& args);
void run(const DropoutBackward& args);

void run(const MaxPoolForward& args);
void run(const MaxPoolBackward& args);
void run(const AveragePoolForward& args);
void run(const AveragePoolBackward& args);
void run(const GlobalAveragePoolForward& args);
void run(const GlobalAveragePoolBackward& args);

void run(const LocalResponseNormForward& args);
void run(const LocalResponseNormBackward& args);

void run(const SoftmaxCrossEntropyForward& args);
void run(const SoftmaxCrossEntropyBackward& args);

void run(const CommitState& args);

void run(const CountExponents& args);

}  // namespace minim::reference
