#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "data/batch_writer.h"

namespace minim {

struct EvaluationLoader::Impl {
  Impl(const Dataset& data, Backend& backend, const LoaderOptions& loader_options)
      : dataset(data), options(loader_options), writer(data, loader_options.dtype) {
    validate(options);
    if (dataset.size() < 1) throw InvalidArgument("evaluation of a data set without samples, wanted at least 1");
    batch = allocate_batch(dataset, backend, options);
    indices.resize(static_cast<std::size_t>(options.batch));
  }

  const Dataset& dataset;
  const LoaderOptions options;
  BatchWriter writer;
  Batch batch;
  std::vector<std::int64_t> indices;
};

EvaluationLoader::EvaluationLoader(const Dataset& dataset, Backend& backend, LoaderOptions options)
    : impl_(std::make_unique<Impl>(dataset, backend, options)) {}
EvaluationLoader::~EvaluationLoader() = default;

std::int64_t EvaluationLoader::batches() const {
  const std::int64_t per_round = impl_->options.batch * impl_->options.world_size;
  return (impl_->dataset.size() + per_round - 1) / per_round;
}

const Batch& EvaluationLoader::read(std::int64_t index) {
  if (index < 0 || index >= batches()) throw InvalidArgument(fmt::format("evaluation batch {}, there are {}", index, batches()));
  const auto& options = impl_->options;
  const std::int64_t first = (index * options.world_size + options.rank) * options.batch;
  const std::int64_t valid = std::clamp<std::int64_t>(impl_->dataset.size() - first, 0, options.batch);
  const auto indices = std::span(impl_->indices).first(static_cast<std::size_t>(valid));
  std::iota(indices.begin(), indices.end(), first);
  try {
    impl_->writer.write(impl_->batch, 0, first, indices);
    BatchWriter::finish(impl_->batch, valid);
  } catch (const std::exception& failure) {
    BatchWriter::fail(impl_->batch, failure.what());
  }
  return impl_->batch;
}

}  // namespace minim
