#include <array>

#include "minim/launcher/shared_error.h"
#include "minim/launcher/trainer.h"

namespace minim {
namespace {

constexpr int kSums = 3;  // loss, weight, correct

double read_sum(const Plan& plan, const char* output) { return plan.output(output).data<float>()[0]; }

}  // namespace

struct Evaluator::Impl {
  Communicator& communicator;
  Stream& stream;
  Trainer* trainer;
  std::unique_ptr<Plan> plan;

  std::array<double, kSums> run_local(std::int64_t batches, const std::function<void(std::int64_t, Plan&)>& feed);
};

Evaluator::Evaluator(Trainer& trainer, const Graph& graph, std::int64_t batch)
    : impl_(new Impl{trainer.communicator(), trainer.stream(), &trainer, nullptr}) {
  impl_->plan = Plan::compile(graph, trainer.backend(), {.precision = trainer.options().precision, .batch = batch});
  impl_->plan->bind({}, &trainer.plan());
}

Evaluator::Evaluator(Backend& backend, Communicator& communicator, Stream& stream, const Graph& graph, Precision precision,
                     std::int64_t batch)
    : impl_(new Impl{communicator, stream, nullptr, nullptr}) {
  impl_->plan = Plan::compile(graph, backend, {.precision = precision, .batch = batch});
  impl_->plan->bind({});
}

Evaluator::~Evaluator() = default;

std::array<double, kSums> Evaluator::Impl::run_local(std::int64_t batches, const std::function<void(std::int64_t, Plan&)>& feed) {
  std::array<double, kSums> sums{};
  for (std::int64_t i = 0; i < batches; ++i) {
    feed(i, *plan);
    plan->forward(stream);
    stream.synchronize();
    sums[0] += read_sum(*plan, "loss");
    sums[1] += read_sum(*plan, "weight");
    sums[2] += read_sum(*plan, "correct");
    communicator.keep_alive();  // no collective tells the others how far this rank has come
  }
  return sums;
}

EvaluationResult Evaluator::run(std::int64_t batches, const std::function<void(std::int64_t, Plan&)>& feed) {
  if (impl_->trainer != nullptr) impl_->trainer->gather_weights();
  const auto rank = static_cast<std::size_t>(impl_->communicator.rank());
  const auto size = static_cast<std::size_t>(impl_->communicator.size());
  std::vector<double> all(size * kSums);
  RankError error;
  try {
    const auto sums = impl_->run_local(batches, feed);
    std::copy(sums.begin(), sums.end(), all.begin() + static_cast<std::ptrdiff_t>(rank * kSums));
  } catch (const CommError&) {
    throw;
  } catch (...) {
    error = RankError::current();
  }
  agree_on_errors(impl_->communicator, error);
  const TensorView view(all.data(), DType::fp64, Shape{static_cast<std::int64_t>(all.size())});
  impl_->communicator.all_gather(view, {.label = "evaluation", .after = {}}).wait();
  std::array<double, kSums> total{};
  for (std::size_t i = 0; i < all.size(); ++i) total[i % kSums] += all[i];
  const double weight = total[1] > 0 ? total[1] : 1;
  return {.loss = total[0] / weight, .accuracy = total[2] / weight, .weight = total[1]};
}

}  // namespace minim
