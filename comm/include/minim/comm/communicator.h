#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "minim/runtime/backend.h"
#include "minim/runtime/tensor.h"

namespace minim {

struct CollectiveOptions {
  /// Names the collective in errors: `all-reduce of "bucket 3"`. Compared across ranks together with kind, count and type.
  std::string label;
  /// The collective reads and writes its tensors only after this event.
  Event after;
};

struct ReduceOptions {
  /// The result is 2^scale_exponent times the sum. Applied before the sum is rounded to the wire type.
  int scale_exponent = 0;
};

namespace detail {
class Collective;
struct Request;
}  // namespace detail

/// A collective under way. A cheap handle; dropping it does not cancel anything.
class Work {
 public:
  Work() = default;  ///< completed
  Work(class Communicator* communicator, std::shared_ptr<detail::Collective> collective)
      : communicator_(communicator), collective_(std::move(collective)) {}

  bool done() const;
  /// Drives the communicator until this collective has completed. Throws CommError: a peer missing beyond the deadline (names the
  /// ranks and the collective), a mismatch between ranks, an abort.
  void wait() const;
  /// Happens when the collective has completed; fails with its error. Somebody has to drive the communicator meanwhile.
  Event event() const;
  /// Orders what `stream` is given from here on after the collective. On a stream of a CPU the host goes on, and somebody has to
  /// drive the communicator meanwhile; otherwise this may drive it, until the device can do the rest.
  void precede(Stream& stream) const;

 private:
  class Communicator* communicator_ = nullptr;
  std::shared_ptr<detail::Collective> collective_;
};

/// A fixed group of ranks. Every rank issues the same collectives in the same order; they complete in that order.
///
/// Collectives are asynchronous: a call queues one and returns. Queued collectives advance inside `progress()`, which
/// `Work::wait` calls, on the calling thread and in short steps: there is no communication thread, so any thread level of MPI
/// will do, and kernels on streams run meanwhile. One thread at a time uses a communicator.
///
/// A collective starts when its `after` event has happened. Its deadline counts from there, and anew whenever it moves: a peer is
/// missing when nothing came from it for that long. Long work between collectives says `keep_alive()`, and the deadlines of those
/// who wait count anew. After an error every later collective fails with it.
///
/// Element types of reductions: fp16, bf16, fp32; `all_gather`, `all_to_all` and `broadcast` copy any type. Sums are added in
/// FP32 in rank order and rounded once; with several nodes, once per node and once over the nodes in their order. Every rank gets
/// the same bits. Counts of 0 are allowed and still synchronise. Tensors lie in memory of the host, unless NCCL carries what lies
/// on devices: see minim/comm/nccl.h, also for its sums.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Nodes that the ranks are spread over, and the node of each rank.
  virtual int nodes() const = 0;
  virtual int node_of(int rank) const = 0;
  virtual std::string_view name() const = 0;  ///< "self", "thread", "mpi", ...

  /// data = 2^e * sum over ranks, on all ranks, in place.
  Work all_reduce(TensorView data, ReduceOptions reduce, CollectiveOptions options);
  /// As all_reduce, but only elements [r n / W, (r + 1) n / W) of rank r are valid afterwards; the others are unspecified.
  /// The same bits as all_reduce. n must be a multiple of W.
  Work reduce_scatter(TensorView data, ReduceOptions reduce, CollectiveOptions options);
  /// sums (fp32, n / W elements) = FP32 sum over ranks, in rank order whatever the nodes, of this rank's slice of data, not
  /// rounded. data is left as it was.
  Work reduce_scatter_fp32(ConstTensorView data, TensorView sums, CollectiveOptions options);
  /// Every rank's slice [r n / W, (r + 1) n / W) is copied to all ranks, in place. n must be a multiple of W.
  Work all_gather(TensorView data, CollectiveOptions options);
  /// Part s of `send` goes to part r of rank s's `receive`, W equal parts. The two do not overlap.
  Work all_to_all(ConstTensorView send, TensorView receive, CollectiveOptions options);
  Work broadcast(TensorView data, int root, CollectiveOptions options);
  Work barrier(CollectiveOptions options);

  /// Memory for buckets, which collectives can reach fastest (a window shared within the node, registered memory). A collective
  /// call that completes here: all ranks ask for the same size in the same order, and release it before the communicator goes.
  /// Collectives work for every tensor: memory from elsewhere is copied through.
  virtual Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) = 0;

  /// Advances the queued collectives by one short step, without waiting. Throws what `Work::wait` throws.
  virtual void progress() = 0;
  /// Tells the ranks that wait for this one that it is at work and will come. To be called from long work of this rank alone, at
  /// least four times per deadline; more often costs little. Throws CommError when the group has failed meanwhile.
  virtual void keep_alive() = 0;
  /// Tells all ranks to give up, with a reason that their errors repeat. Never blocks.
  virtual void abort(const std::string& reason) = 0;

  /// Where the collectives that are issued from here on go with their times; null: nowhere. Call before issuing them; the row
  /// outlives that. A collective takes from when it begins, with its tensors ready, until it has completed.
  virtual void set_trace(TraceRow* row) { trace_ = row; }

 protected:
  friend class Work;
  /// Queues a request whose arguments have been checked.
  virtual Work submit(detail::Request request) = 0;
  /// Drives the queue until `collective` has completed. Throws its error.
  virtual void wait_for(const detail::Collective& collective) = 0;
  /// See Work::precede.
  virtual void order(detail::Collective& collective, Stream& stream);

 private:
  Work submit_traced(detail::Request request);

  TraceRow* trace_ = nullptr;
};

/// One rank: sums are scaled and rounded, the rest is copies.
std::unique_ptr<Communicator> make_self_communicator();

/// The ranks of `host`, a communicator that reaches memory of the host alone, with collectives on memory of `device`, too: these
/// are copied to the host and back, in order on streams of their own. For ranks that share a GPU, or have nothing faster. Both
/// outlive it. Collectives of both may alternate, in the same order on all ranks.
std::unique_ptr<Communicator> make_staged_communicator(Communicator& host, Backend& device);

struct ThreadGroupOptions {
  std::chrono::milliseconds deadline{60000};
  int ranks_per_node = 0;  ///< pretend nodes of so many ranks; 0: one node
};
/// `size` ranks within one process, for tests: element r belongs to the thread that plays rank r.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size, ThreadGroupOptions options = {});

}  // namespace minim
