#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "cuda/cudnn/convolution_plan.h"
#include "minim/model/plan.h"
#include "minim/model/zoo.h"
#include "minim/runtime/cuda.h"

namespace minim {

void PrintTo(const GpuModel& model, std::ostream* out) { *out << model.name; }

}  // namespace minim

/// The convolutions of the zoo as cuDNN's own library plans them for devices that are not there. Engines that it compiles for
/// the device take a driver: where there is none, it does not propose them.
namespace minim::cuda::cudnn {
namespace {

struct Network {
  std::string model;
  ImageTask task;
  std::int64_t width = 64;
};
const Network kNetworks[] = {
    {"lenet", {.height = 28, .width = 28, .channels = 1, .classes = 10}},
    {"resnet-18", {.height = 28, .width = 28, .channels = 1, .classes = 10}, 16},
    {"resnet-18", {.height = 32, .width = 32, .channels = 3, .classes = 10}, 16},
    {"resnet-18", {.height = 224, .width = 224, .channels = 3, .classes = 1000}},
    {"resnet-50", {.height = 224, .width = 224, .channels = 3, .classes = 1000}},
};
constexpr std::int64_t kBatches[] = {1, 7, 64};

/// The convolutions that a backend is asked about.
class Convolutions {
 public:
  explicit Convolutions(Backend& backend) {
    note<Conv2dForward>(backend);
    note<Conv2dBackwardData>(backend);
    note<Conv2dBackwardWeights>(backend);
  }
  /// Each once.
  const std::vector<ConvolutionProblem>& all() const { return problems_; }

 private:
  template <class Args>
  void note(Backend& backend) {
    const auto workspace_bytes = [this](const Args& args) -> std::int64_t {
      const auto problem = problem_of(args);
      if (std::ranges::find(problems_, problem) == problems_.end()) problems_.push_back(problem);
      return 0;
    };
    backend.add_kernel<Args>({.prepare = nullptr, .workspace_bytes = workspace_bytes}, "noted");
  }

  std::vector<ConvolutionProblem> problems_;
};

std::vector<ConvolutionProblem> convolutions_of_the_zoo(Precision precision) {
  const auto backend = make_reference_backend();
  const Convolutions convolutions(*backend);
  for (const Network& network : kNetworks) {
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_classifier(graph, network.model, network.task, {.width = network.width});
    for (const std::int64_t batch : kBatches) minim::Plan::compile(graph, *backend, {.precision = precision, .batch = batch});
  }
  return convolutions.all();
}

class CudnnPlans : public testing::TestWithParam<GpuModel> {};

TEST_P(CudnnPlans, ExistForEveryConvolutionOfTheZoo) {
  const DeviceProperties device = DeviceProperties::of_model(GetParam());
  for (const Precision precision : {Precision::fp32, Precision::mixed, Precision::bf16}) {
    const auto convolutions = convolutions_of_the_zoo(precision);
    ASSERT_GT(convolutions.size(), 100U);
    for (const ConvolutionProblem& problem : convolutions) {
      if (problem.storage != DType::bf16 || GetParam().has_bf16()) {
        EXPECT_LE(plan_convolution(problem, device).workspace_bytes, kMostCudaWorkspaceBytes);
      } else if (!has_cuda_driver()) {  // with one there is an engine for some
        EXPECT_THROW(plan_convolution(problem, device), DeviceError);
      }
    }
  }
}

TEST(CudnnEngines, ThatAreCompiledAtRunTimeAreThereWithADriver) {
  constexpr std::int64_t kCompiled = 19;  // cuDNN 9.19's number of one
  const auto device = DeviceProperties::of_model(*find_gpu_model("a100"));
  const auto convolutions = convolutions_of_the_zoo(Precision::mixed);
  const bool chosen = std::ranges::any_of(
      convolutions, [&](const ConvolutionProblem& problem) { return plan_convolution(problem, device).engine == kCompiled; });
  EXPECT_EQ(chosen, has_cuda_driver());
}

std::string device_name(const testing::TestParamInfo<GpuModel>& device) { return std::string(device.param.name); }

INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlans, testing::ValuesIn(gpu_models()), device_name);

}  // namespace
}  // namespace minim::cuda::cudnn
