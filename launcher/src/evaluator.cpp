#include <array>

#include "minim/launcher/shared_error.h"
#include "minim/launcher/trainer.h"
#include "settle.h"

namespace minim {
namespace {

constexpr std::array kSumNames = {"loss", "weight", "correct"};
constexpr std::int64_t kSums = kSumNames.size();
using Sums = std::array<double, kSums>;

}  // namespace

struct Evaluator::Impl {
  Communicator& communicator;
  Stream& stream;
  Trainer* trainer;
  std::unique_ptr<Plan> plan;
  Tensor batch_sums;  ///< in host memory

  Impl(Backend& backend, Communicator& communicator_, Stream& stream_, Trainer* trainer_)
      : communicator(communicator_),
        stream(stream_),
        trainer(trainer_),
        batch_sums(backend.allocate_host_tensor(DType::fp32, Shape{kSums}, MemoryKind::staging)) {}

  Sums run_local(std::int64_t batches, const EvaluationFeed& feed, const EvaluationSink& sink) const;
};

Evaluator::Evaluator(Trainer& trainer, const Graph& graph, std::int64_t batch)
    : impl_(std::make_unique<Impl>(trainer.backend(), trainer.communicator(), trainer.stream(), &trainer)) {
  impl_->plan = Plan::compile(graph, trainer.backend(), {.precision = trainer.options().precision, .batch = batch});
  impl_->plan->bind({}, &trainer.plan());
}

Evaluator::Evaluator(Backend& backend, Communicator& communicator, Stream& stream, const Graph& graph, Precision precision,
                     std::int64_t batch)
    : impl_(std::make_unique<Impl>(backend, communicator, stream, nullptr)) {
  impl_->plan = Plan::compile(graph, backend, {.precision = precision, .batch = batch});
  impl_->plan->bind({});
}

Evaluator::~Evaluator() = default;

Sums Evaluator::Impl::run_local(std::int64_t batches, const EvaluationFeed& feed, const EvaluationSink& sink) const {
  Sums sums{};
  for (std::int64_t i = 0; i < batches; ++i) {
    feed(i, *plan, stream);
    plan->forward(stream);
    for (std::int64_t s = 0; s < kSums; ++s) {
      stream.copy(batch_sums.view().slice(s, s + 1), plan->output(kSumNames[static_cast<std::size_t>(s)]));
    }
    stream.synchronize();
    for (std::size_t s = 0; s < sums.size(); ++s) sums[s] += static_cast<double>(batch_sums.span<float>()[s]);
    if (sink) sink(i, *plan);
    communicator.keep_alive();  // no collective tells the others how far this rank has come
  }
  return sums;
}

std::int64_t Evaluator::staging_bytes() { return kSums * size_bytes(DType::fp32); }

EvaluationResult Evaluator::run(std::int64_t batches, const EvaluationFeed& feed, const EvaluationSink& sink) {
  if (impl_->trainer != nullptr) impl_->trainer->gather_weights();
  const auto rank = static_cast<std::size_t>(impl_->communicator.rank());
  const auto size = static_cast<std::size_t>(impl_->communicator.size());
  std::vector<double> all(size * kSums);
  RankError error;
  try {
    const auto sums = impl_->run_local(batches, feed, sink);
    std::copy(sums.begin(), sums.end(), all.begin() + static_cast<std::ptrdiff_t>(rank * kSums));
  } catch (const CommError&) {
    settle(impl_->stream);
    throw;
  } catch (...) {
    error = RankError::current();
    settle(impl_->stream);
  }
  agree_on_errors(impl_->communicator, error);
  const TensorView view(all.data(), DType::fp64, Shape{static_cast<std::int64_t>(all.size())});
  impl_->communicator.all_gather(view, {.label = "evaluation", .after = {}}).wait();
  Sums total{};
  for (std::size_t i = 0; i < all.size(); ++i) total[i % kSums] += all[i];
  const double weight = total[1] > 0 ? total[1] : 1;
  return {.loss = total[0] / weight, .accuracy = total[2] / weight, .weight = total[1]};
}

}  // namespace minim
