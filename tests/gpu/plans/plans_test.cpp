#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <span>
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
constexpr ImageTask kSmall{.height = 28, .width = 28, .channels = 1, .classes = 10};
constexpr ImageTask kImageNet{.height = 224, .width = 224, .channels = 3, .classes = 1000};
const Network kNetworks[] = {
    {"lenet", kSmall},
    {"resnet-18", kSmall, 16},
    {"resnet-18", {.height = 32, .width = 32, .channels = 3, .classes = 10}, 16},
    {"resnet-18", kImageNet},
    {"resnet-34", kImageNet},
    {"resnet-50", kImageNet},
    {"resnet-101", kImageNet},
    {"alexnet", kImageNet},
    {"vgg-d", kImageNet},
    {"googlenet", kImageNet},
    {"inception-v2", kImageNet},
    {"inception-v3", {.height = 299, .width = 299, .channels = 3, .classes = 1000}},
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

std::vector<ConvolutionProblem> convolutions_of(std::span<const Network> networks, Precision precision) {
  const auto backend = make_reference_backend();
  const Convolutions convolutions(*backend);
  for (const Network& network : networks) {
    Model model;
    Graph graph(model, Graph::Mode::training);
    build_classifier(graph, network.model, network.task, {.width = network.width});
    for (const std::int64_t batch : kBatches) minim::Plan::compile(graph, *backend, {.precision = precision, .batch = batch});
  }
  return convolutions.all();
}

std::vector<ConvolutionProblem> convolutions_of_the_zoo(Precision precision) { return convolutions_of(kNetworks, precision); }

class CudnnPlans : public testing::TestWithParam<GpuModel> {};

TEST_P(CudnnPlans, ExistForEveryConvolutionOfTheZoo) {
  const DeviceProperties device = DeviceProperties::of_model(GetParam());
  for (const Precision precision : {Precision::fp32, Precision::mixed, Precision::bf16}) {
    const auto convolutions = convolutions_of_the_zoo(precision);
    ASSERT_GT(convolutions.size(), 100U);
    for (const ConvolutionProblem& problem : convolutions) {
      EXPECT_LE(plan_convolution(problem, device).workspace_bytes, kMostCudaWorkspaceBytes);
    }
  }
}

TEST(CudnnEngines, ThatAreCompiledAtRunTimeAreThereWithADriver) {
  constexpr std::int64_t kCompiled = 19;  // cuDNN 9.19's number of one
  const auto device = DeviceProperties::of_model(*find_gpu_model("a100"));
  const auto convolutions = convolutions_of(std::span(kNetworks).first(4), Precision::mixed);
  const bool chosen = std::ranges::any_of(
      convolutions, [&](const ConvolutionProblem& problem) { return plan_convolution(problem, device).engine == kCompiled; });
  EXPECT_EQ(chosen, has_cuda_driver());
}

/// Whether a row of channels does not begin on a multiple of 16 bytes, in FP16.
bool is_unaligned(const ConvolutionProblem& problem) { return problem.x[3] % 8 != 0 || problem.y[3] % 8 != 0; }

/// Plans, and how many of them multiply on Tensor Cores.
struct PlanCount {
  int plans = 0, on_tensor_cores = 0;

  void add(const Plan& plan) {
    ++plans;
    on_tensor_cores += plan.tensor_cores ? 1 : 0;
  }
  std::string to_string() const { return fmt::format("{} of {}", on_tensor_cores, plans); }
};

/// Which engines cuDNN's heuristics put first, and the largest workspace, by device, precision and pass.
std::string table_of_plans() {
  constexpr std::string_view kPasses[] = {"forward", "data gradient", "weight gradient"};
  std::string table = fmt::format(
      "# How cuDNN plans the convolutions of the zoo\n\n"
      "Of cuDNN {} with a driver, written by `cuda_plan_tests` with `MINIM_WRITE_PLAN_TABLE=1`: of the convolutions of all "
      "networks at\n"
      "batches 1, 7 and 64, for how many there is a plan that minim's rules allow, cuDNN's number of the engine (and how many "
      "times),\n"
      "how many of the plans multiply on Tensor Cores, of those whose channels are a multiple of 8 and of the others, and the "
      "largest\nworkspace.\n\n"
      "| device | precision | pass | plans | engines | Tensor Cores, aligned | others | workspace, MiB |\n"
      "|---|---|---|---|---|---|---|---:|\n",
      cudnnGetVersion());
  for (const GpuModel& model : gpu_models()) {
    const DeviceProperties device = DeviceProperties::of_model(model);
    for (const Precision precision : {Precision::fp32, Precision::mixed, Precision::bf16}) {
      const auto convolutions = convolutions_of_the_zoo(precision);
      for (const auto pass : {ConvolutionPass::forward, ConvolutionPass::backward_data, ConvolutionPass::backward_weights}) {
        std::map<std::int64_t, int> engines;
        std::int64_t problems = 0, workspace_bytes = 0;
        PlanCount aligned, unaligned;
        for (const ConvolutionProblem& problem : convolutions) {
          if (problem.pass != pass) continue;
          ++problems;
          try {
            const Plan plan = plan_convolution(problem, device);
            ++engines[plan.engine];
            (is_unaligned(problem) ? unaligned : aligned).add(plan);
            workspace_bytes = std::max(workspace_bytes, plan.workspace_bytes);
          } catch (const DeviceError&) {  // counted
          }
        }
        std::string list;
        for (const auto& [engine, times] : engines) list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", engine, times);
        table += fmt::format("| {} | {} | {} | {} of {} | {} | {} | {} | {} |\n", model.name, name(precision),
                             kPasses[static_cast<int>(pass)], aligned.plans + unaligned.plans, problems, list,
                             aligned.to_string(), unaligned.to_string(), (workspace_bytes + (1 << 20) - 1) >> 20);
      }
    }
  }
  return table;
}

TEST(CudnnEngines, AreThoseOfTheTable) {
  if (!has_cuda_driver()) GTEST_SKIP() << "without a driver cuDNN leaves out engines";
  if (std::getenv("MINIM_WRITE_PLAN_TABLE") != nullptr) std::ofstream(MINIM_PLAN_TABLE) << table_of_plans();
  std::ifstream in(MINIM_PLAN_TABLE);
  const std::string kept(std::istreambuf_iterator<char>(in), {});
  if (kept.find(fmt::format("Of cuDNN {} ", cudnnGetVersion())) == std::string::npos) {
    GTEST_SKIP() << "the table is another version's";
  }
  EXPECT_EQ(table_of_plans(), kept) << "MINIM_WRITE_PLAN_TABLE=1 writes it anew";
}

std::string device_name(const testing::TestParamInfo<GpuModel>& device) { return std::string(device.param.name); }

/// The table has all of them, which takes minutes.
INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlans,
                         testing::Values(*find_gpu_model("a100"), *find_gpu_model("h100"), *find_gpu_model("b200")), device_name);

}  // namespace
}  // namespace minim::cuda::cudnn
