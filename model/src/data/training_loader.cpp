#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "data/batch_writer.h"

namespace minim {

namespace {

constexpr int kHeldByCaller = 2;  // a batch stays valid until the call after next

}  // namespace

struct TrainingLoader::Impl {
  /// A batch and the number of the micro-batch that it holds.
  struct Slot {
    Batch batch;
    std::int64_t micro_batch = -1;
  };

  Impl(const Dataset& data, Backend& backend, const LoaderOptions& loader_options)
      : dataset(data), options(loader_options), stream(data.size(), loader_options.seed) {
    validate(options);
    ring.resize(static_cast<std::size_t>(options.depth + kHeldByCaller));
    for (auto& slot : ring) slot.batch = allocate_batch(dataset, backend, options);
    for (int i = 0; i < options.threads; ++i) {
      workers.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  /// Stream position of the first sample of this rank's micro-batch number `n`.
  std::int64_t position(std::int64_t n) const {
    const std::int64_t per_rank = options.batch * options.micro_batches;
    const std::int64_t step = n / options.micro_batches;
    const std::int64_t within = n % options.micro_batches;
    return options.start_position + step * per_rank * options.world_size + options.rank * per_rank + within * options.batch;
  }

  Slot& slot_of(std::int64_t micro_batch) { return ring[static_cast<std::size_t>(micro_batch) % ring.size()]; }

  /// Whether the slot of the next micro-batch is neither waiting for the caller nor still in the caller's hands.
  bool has_room() const {
    const std::int64_t given_back = std::max<std::int64_t>(0, calls - kHeldByCaller);
    return taken < given_back + static_cast<std::int64_t>(ring.size());
  }

  /// A worker: takes micro-batches in order, reads them, hands them over.
  void work(const std::stop_token& stop) {
    BatchWriter writer(dataset, options.dtype);
    std::vector<std::int64_t> indices(static_cast<std::size_t>(options.batch));
    while (true) {
      std::unique_lock lock(mutex);
      if (!room.wait(lock, stop, [this] { return has_room(); })) return;
      const std::int64_t micro_batch = taken++;
      lock.unlock();
      Slot& slot = slot_of(micro_batch);
      read(slot.batch, position(micro_batch), indices, writer);
      lock.lock();
      slot.micro_batch = micro_batch;
      ready.notify_one();
    }
  }

  void read(Batch& batch, std::int64_t first, std::vector<std::int64_t>& indices, BatchWriter& writer) const {
    try {
      for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = stream.index_at(first + static_cast<std::int64_t>(i));
      writer.write(batch, first, indices);
    } catch (const std::exception& failure) {
      BatchWriter::fail(batch, failure.what());
    }
  }

  const Batch& next() {
    std::unique_lock lock(mutex);
    const std::int64_t wanted = calls++;
    room.notify_one();
    Slot& slot = slot_of(wanted);
    ready.wait(lock, [&slot, wanted] { return slot.micro_batch == wanted; });
    return slot.batch;
  }

  const Dataset& dataset;
  const LoaderOptions options;
  const SampleStream stream;

  std::mutex mutex;  ///< guards the counters and the numbers in the slots; a slot's batch belongs to who took it
  std::condition_variable_any room;
  std::condition_variable ready;
  std::vector<Slot> ring;
  std::int64_t taken = 0;  ///< micro-batches that workers have begun
  std::int64_t calls = 0;  ///< of next()

  std::vector<std::jthread> workers;  ///< last: stopped and joined before anything that they use goes
};

TrainingLoader::TrainingLoader(const Dataset& dataset, Backend& backend, LoaderOptions options)
    : impl_(std::make_unique<Impl>(dataset, backend, options)) {}
TrainingLoader::~TrainingLoader() = default;

const Batch& TrainingLoader::next() { return impl_->next(); }

std::int64_t staging_bytes(const ImageTask& task, const LoaderOptions& options) {
  const std::int64_t image = task.height * task.width * task.channels * size_bytes(options.dtype);
  const std::int64_t sample = image + size_bytes(DType::int32) + size_bytes(DType::int64);  // with its label and id
  const std::int64_t batches = options.depth + kHeldByCaller + 1;                           // one for evaluation
  return batches * options.batch * sample;
}

}  // namespace minim
