#include "minim/model/kernel_arguments.h"

#include <gtest/gtest.h>

#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/convolution.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/linear.h"
#include "minim/runtime/kernels/loss.h"
#include "minim/runtime/kernels/pooling.h"

namespace minim {
namespace {

struct Found {
  int reads = 0;
  int writes = 0;
  friend bool operator==(const Found&, const Found&) = default;
};

template <class Args>
Found count(Args args = {}) {
  Found found;
  for_each_tensor(args, [&]<class View>(View&) { ++(std::is_same_v<View, TensorView> ? found.writes : found.reads); });
  return found;
}

TEST(KernelArguments, AreReadOrWrittenByTheirType) {
  EXPECT_EQ((count<Conv2dForward>()), (Found{3, 2}));
  EXPECT_EQ((count<Conv2dBackwardWeights>()), (Found{2, 3}));
  EXPECT_EQ((count<LinearBackwardData>()), (Found{2, 2}));
  EXPECT_EQ((count<BatchNormForward>()), (Found{6, 6}));
  EXPECT_EQ((count<BatchNormBackward>()), (Found{8, 4}));
  EXPECT_EQ((count<SoftmaxCrossEntropyForward>()), (Found{4, 5}));
  EXPECT_EQ((count<MaxPoolForward>()), (Found{1, 2}));
  EXPECT_EQ((count<Zero>()), (Found{0, 1}));
}

TEST(KernelArguments, InVectorsAndNestedStructsAreFound) {
  Sum sum;
  sum.inputs.resize(3);
  EXPECT_EQ(count(sum), (Found{4, 1}));
  ConcatBackward concat;
  concat.outputs.resize(4);
  EXPECT_EQ(count(concat), (Found{1, 4}));
  EXPECT_EQ((count<DropoutForward>()), (Found{3, 1}));
}

struct Sixteen {
  TensorView a, b, c, d, e, f, g, h, i, j, k, l, m, n, o;
  ConstTensorView p;
};

TEST(KernelArguments, MayBeSixteen) { EXPECT_EQ((count<Sixteen>()), (Found{1, 15})); }

}  // namespace
}  // namespace minim
