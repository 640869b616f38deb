#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "data/batch_writer.h"

namespace minim {

namespace {

constexpr int kHeldByCaller = 2;  // a batch stays valid until the call after next

}  // namespace

struct TrainingLoader::Impl {
  /// A batch and the number of the micro-batch that it holds or is being filled with.
  struct Slot {
    Batch batch;
    std::int64_t micro_batch = -1;
    int parts_left = 0;      ///< that workers have not ended
    int failed_part = 0;     ///< the first
    std::string error = {};  ///< not empty: why it failed
  };

  /// Samples of a micro-batch that a worker reads.
  struct Part {
    std::int64_t micro_batch;
    int number;
  };

  Impl(const Dataset& data, Backend& backend, const LoaderOptions& loader_options)
      : dataset(data),
        options(loader_options),
        stream(data.size(), loader_options.seed),
        parts(static_cast<int>(std::min<std::int64_t>(loader_options.threads, loader_options.batch))) {
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

  /// A worker: takes parts of micro-batches in order, reads them, and hands a micro-batch over with its last.
  void work(const std::stop_token& stop) {
    BatchWriter writer(dataset, options.dtype, options.seed);
    std::vector<std::int64_t> indices;
    while (true) {
      std::unique_lock lock(mutex);
      if (!room.wait(lock, stop, [this] { return parts_taken > 0 || has_room(); })) return;
      const Part part = take_part();
      lock.unlock();
      Slot& slot = slot_of(part.micro_batch);
      const std::string error = read(slot.batch, part, indices, writer);
      lock.lock();
      if (!error.empty() && (slot.error.empty() || part.number < slot.failed_part)) {
        slot.error = error;
        slot.failed_part = part.number;
      }
      if (--slot.parts_left > 0) continue;
      lock.unlock();  // nobody else has the slot now
      if (slot.error.empty()) {
        BatchWriter::finish(slot.batch, options.batch);
      } else {
        BatchWriter::fail(slot.batch, slot.error);
      }
      lock.lock();
      slot.micro_batch = part.micro_batch;
      ready.notify_one();
    }
  }

  Part take_part() {
    const Part part{taken, parts_taken};
    if (part.number == 0) {
      Slot& slot = slot_of(taken);
      slot.parts_left = parts;
      slot.error.clear();
    }
    if (++parts_taken == parts) {
      parts_taken = 0;
      ++taken;
    }
    return part;
  }

  /// Why the samples could not be read; empty where they could.
  std::string read(Batch& batch, const Part& part, std::vector<std::int64_t>& indices, BatchWriter& writer) const {
    const std::int64_t begin = part.number * options.batch / parts;
    const std::int64_t end = (part.number + 1) * options.batch / parts;
    const std::int64_t first = position(part.micro_batch) + begin;
    try {
      indices.clear();
      for (std::int64_t i = 0; i < end - begin; ++i) indices.push_back(stream.index_at(first + i));
      writer.write(batch, begin, first, indices);
      return {};
    } catch (const std::exception& failure) {
      return failure.what();
    }
  }

  const Batch& next() {
    std::unique_lock lock(mutex);
    const std::int64_t wanted = calls++;
    room.notify_all();
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
  const int parts;         ///< of a micro-batch, so that all workers can be at the one that is wanted next
  std::int64_t taken = 0;  ///< micro-batches of which workers have taken all parts
  int parts_taken = 0;     ///< of the next micro-batch
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
