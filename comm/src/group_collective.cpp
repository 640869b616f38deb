#include "group_collective.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "minim/runtime/error.h"
#include "minim/runtime/simd.h"

namespace minim::detail {
namespace {

/// A turn of work reads at most about so many bytes, so that the driving thread stays responsive (some 100 us).
constexpr std::int64_t kTurnBytes = 1 << 20;

Slices make_slices(const Request& request, int ranks) {
  const std::int64_t elements = request.input.elements();
  switch (request.kind) {
    case CollectiveKind::barrier: return {};
    case CollectiveKind::broadcast: return {.elements = elements, .count = 1, .stride = elements};
    case CollectiveKind::all_reduce:
      return {.elements = elements, .count = ranks, .stride = round_up((elements + ranks - 1) / ranks, kGrain)};
    default: return {.elements = elements, .count = ranks, .stride = elements / ranks};
  }
}

}  // namespace

GroupCollective::GroupCollective(const GroupContext& context, const Request& request, const Signature& signature,
                                 std::uint64_t sequence)
    : context_(context),
      request_(request),
      signature_(signature),
      sequence_(sequence),
      element_bytes_(minim::size_bytes(signature.dtype)),
      scale_(std::ldexp(1.0F, request.scale_exponent)),
      slices_(make_slices(request, context.topology.size)) {
  const std::int64_t staged = context_.node.segment().staging_bytes / (slices_.count * element_bytes_);
  slices_.piece = staged / kGrain * kGrain;
}

// Agreement.

void GroupCollective::post() {
  const Location location =
      fits_slot() ? Location{} : context_.registry.locate(request_.input.raw(), request_.input.size_bytes());
  context_.node.post(signature_, location, sequence_ % 2);
}

/// All ranks of the node have come and agree; the first of each node knows the same of the nodes.
Steps GroupCollective::agree() {
  post();
  co_await Arrival(context_.node);
  check_agreement();
  if (topology().nodes() > 1 && topology().local_rank == 0) co_await agree_between_nodes();
}

void GroupCollective::check_agreement() const {
  if (const auto mismatch = context_.node.find_mismatch(sequence_ % 2)) throw CommError(*mismatch);
}

/// The nodes' first ranks compare signatures, each with two others in each of log2(N) rounds; none is through before all have
/// come.
Steps GroupCollective::agree_between_nodes() {
  Signature theirs;
  context_.nodes_meet = true;
  for (int distance = 1; distance < topology().nodes(); distance *= 2) {
    const int to = topology().rank_at((topology().node + distance) % topology().nodes(), 0);
    const int from = topology().rank_at((topology().node + topology().nodes() - distance) % topology().nodes(), 0);
    context_.transport->send(to, &signature_, sizeof signature_, Memory::caller);
    context_.transport->receive(from, &theirs, sizeof theirs, Memory::caller);
    co_await wait_for_exchange();
    if (theirs.digest() == signature_.digest()) continue;
    throw CommError(from < me() ? mismatch_text(from, theirs, me(), signature_) : mismatch_text(me(), signature_, from, theirs));
  }
  context_.nodes_meet = false;
}

void GroupCollective::choose_access() {
  const int ranks = context_.node.size();
  if (ranks == 1) {  // there is nobody to share with
    bases_ = {static_cast<std::byte*>(const_cast<void*>(request_.input.raw()))};
    alone_with_tensor_ = context_.registry.locate(request_.input.raw(), request_.input.size_bytes()).allocation < 0;
  }
  for (int l = 0; l < ranks && ranks > 1; ++l) {
    const Location location = context_.node.location(l, sequence_ % 2);
    if (location.allocation < 0) {
      staged_ = true;
      return;
    }
    bases_.push_back(context_.registry.address(location, l));
  }
  // Between nodes all ranks take the same pieces, however their node accesses them.
  if (topology().nodes() == 1) slices_.piece = slices_.stride;
}

// Addresses.

std::byte* GroupCollective::shared(int local_rank, int slice) const {
  if (staged_) return context_.node.part(local_rank).staging + bytes(slice * slices_.piece);
  return bases_[static_cast<std::size_t>(local_rank)] + bytes(range(slice).begin);
}

const std::byte* GroupCollective::input(int slice) const {
  return static_cast<const std::byte*>(request_.input.raw()) + bytes(range(slice).begin);
}

std::byte* GroupCollective::output(int slice) const {
  const bool slice_only = request_.kind == CollectiveKind::reduce_scatter_fp32;  // its output holds fp32 sums of one slice
  auto* const base = static_cast<std::byte*>(request_.output.raw());
  if (slice_only) return base + (range(slice).begin - slice * slices_.stride) * minim::size_bytes(DType::fp32);
  return base + bytes(range(slice).begin);
}

std::byte* GroupCollective::received(std::int64_t size_bytes) {
  auto& memory = context_.scratch.received;
  if (static_cast<std::int64_t>(memory.size()) < size_bytes) memory.resize(static_cast<std::size_t>(size_bytes));
  return memory.data();
}

std::span<const void* const> GroupCollective::shared_sources(int slice) {
  auto& sources = context_.scratch.sources;
  sources.clear();
  for (int l = 0; l < context_.node.size(); ++l) sources.push_back(shared(l, slice));
  return sources;
}

Steps GroupCollective::copy(const std::byte* from, std::byte* to, std::int64_t elements) const {
  if (from == to) co_return;
  for (std::int64_t done = 0; done < bytes(elements); done += kTurnBytes) {
    std::memcpy(to + done, from + done, static_cast<std::size_t>(std::min(kTurnBytes, bytes(elements) - done)));
    co_await Turn{};
  }
}

// Slots.

bool GroupCollective::fits_slot() const { return topology().nodes() == 1 && request_.input.size_bytes() <= kSlotBytes; }

Steps GroupCollective::through_slots() {
  fill_slot();
  post();
  co_await Arrival(context_.node);
  check_agreement();
  read_slots();
}

void GroupCollective::fill_slot() {
  const std::int64_t size_bytes = request_.input.size_bytes();
  if (size_bytes == 0 || (request_.kind == CollectiveKind::broadcast && request_.root != me())) return;
  std::memcpy(context_.node.part(me()).slots[sequence_ % 2], request_.input.raw(), static_cast<std::size_t>(size_bytes));
}

void GroupCollective::read_slots() {
  if (request_.input.elements() == 0) return;
  auto& sources = context_.scratch.sources;
  sources.clear();
  for (int r = 0; r < topology().size; ++r) sources.push_back(context_.node.part(r).slots[sequence_ % 2]);
  auto* const to = static_cast<std::byte*>(request_.output.raw());
  void* const destination = to;
  const auto slice_bytes = static_cast<std::size_t>(bytes(slices_.stride));
  const std::int64_t own = me() * slices_.stride;
  const auto slot = [&](int r) { return static_cast<const std::byte*>(sources[static_cast<std::size_t>(r)]); };
  switch (request_.kind) {
    case CollectiveKind::all_reduce: return simd::reduce_scaled(sources, dtype(), 0, slices_.elements, scale_, {&destination, 1});
    case CollectiveKind::reduce_scatter:
      return simd::reduce_scaled(sources, dtype(), own, own + slices_.stride, scale_, {&destination, 1});
    case CollectiveKind::reduce_scatter_fp32:
      return simd::reduce_to_float(sources, dtype(), own, own + slices_.stride, request_.output.data<float>());
    case CollectiveKind::all_gather:
      for (int r = 0; r < topology().size; ++r) {
        if (r != me())
          std::memcpy(to + static_cast<std::size_t>(r) * slice_bytes, slot(r) + static_cast<std::size_t>(r) * slice_bytes,
                      slice_bytes);
      }
      return;
    case CollectiveKind::all_to_all:
      for (int r = 0; r < topology().size; ++r) {
        std::memcpy(to + static_cast<std::size_t>(r) * slice_bytes, slot(r) + bytes(own), slice_bytes);
      }
      return;
    case CollectiveKind::broadcast:
      if (request_.root != me()) std::memcpy(to, slot(request_.root), slice_bytes);
      return;
    case CollectiveKind::barrier: return;
  }
}

// Pieces.

Steps GroupCollective::in_pieces() {
  co_await agree();
  choose_access();
  const bool several_nodes = topology().nodes() > 1;
  for (piece_ = 0; piece_ < slices_.pieces(); ++piece_) {
    if (staged_) fill_staging();
    if (staged_ || several_nodes) co_await Arrival(context_.node);
    if (several_nodes) {
      co_await between_nodes();
    } else {
      co_await within_node();
    }
    co_await Arrival(context_.node);  // nobody reads or writes this piece any more
  }
  if (slices_.pieces() == 0) co_await Arrival(context_.node);  // nobody leaves before the nodes have agreed
}

void GroupCollective::fill_staging() {
  for (int s = 0; s < slices_.count; ++s) {
    const bool read_by_peers = [&] {
      switch (request_.kind) {
        case CollectiveKind::all_gather: return s == me();
        case CollectiveKind::broadcast: return request_.root == me();
        case CollectiveKind::reduce_scatter_fp32:
        case CollectiveKind::all_to_all: return topology().is_local(s);
        default: return true;
      }
    }();
    if (!read_by_peers || range(s).empty()) continue;
    std::memcpy(own_shared(s), input(s), static_cast<std::size_t>(bytes(range(s).length())));
  }
}

Steps GroupCollective::within_node() {
  switch (request_.kind) {
    case CollectiveKind::all_reduce: co_await all_reduce_within_node(); break;
    case CollectiveKind::reduce_scatter: co_await reduce_own_slice(); break;
    case CollectiveKind::reduce_scatter_fp32: co_await sum_own_slice(); break;
    case CollectiveKind::all_gather:
      for (int r = 0; r < topology().size; ++r) {
        if (r != me()) co_await copy(shared(r, r), output(r), range(r).length());
      }
      break;
    case CollectiveKind::all_to_all:
      for (int r = 0; r < topology().size; ++r) co_await copy(shared(r, me()), output(r), range(r).length());
      break;
    case CollectiveKind::broadcast:
      if (request_.root != me()) co_await copy(shared(request_.root, 0), output(0), range(0).length());
      break;
    case CollectiveKind::barrier: break;
  }
}

Steps GroupCollective::all_reduce_within_node() {
  auto& destinations = context_.scratch.destinations;
  destinations.clear();
  for (int l = 0; l < context_.node.size(); ++l) destinations.push_back(shared(l, me()));
  co_await reduce_own_slice();
  if (!staged_) co_return;
  co_await Arrival(context_.node);
  for (int s = 0; s < slices_.count; ++s) co_await copy(own_shared(s), output(s), range(s).length());
}

/// The destinations are in the scratch already for an all-reduce; a reduce-scatter writes its own tensor.
Steps GroupCollective::reduce_own_slice() {
  auto& destinations = context_.scratch.destinations;
  if (request_.kind == CollectiveKind::reduce_scatter) destinations.assign(1, output(me()));
  const auto sources = shared_sources(me());
  const std::int64_t turn = round_up(kTurnBytes / (element_bytes_ * context_.node.size()), kGrain);
  for (std::int64_t begin = 0; begin < range(me()).length(); begin += turn) {
    const std::int64_t end = std::min(range(me()).length(), begin + turn);
    simd::reduce_scaled(sources, dtype(), begin, end, scale_, destinations);
    co_await Turn{};
  }
}

Steps GroupCollective::sum_own_slice() {
  const auto sources = shared_sources(me());
  auto* const sums = reinterpret_cast<float*>(output(me()));
  const std::int64_t turn = round_up(kTurnBytes / (element_bytes_ * context_.node.size()), kGrain);
  for (std::int64_t begin = 0; begin < range(me()).length(); begin += turn) {
    const std::int64_t end = std::min(range(me()).length(), begin + turn);
    simd::reduce_to_float(sources, dtype(), begin, end, sums + begin);
    co_await Turn{};
  }
}

// On a device.

Steps GroupCollective::on_device() {
  co_await agree();
  if (topology().nodes() > 1) co_await Arrival(context_.node);  // the nodes have agreed, too
  try {
    context_.device->start(request_);
    context_.node.arrive();  // nobody waits for it: it shows who has started
    co_await Enqueued(*context_.device);
    context_.rest = context_.device->finished();
  } catch (const DeviceError& error) {
    throw DeviceError(fmt::format("rank {} in {}: {}", me(), signature_.title(), error.what()));
  }
}

Steps run_collective(GroupContext context, const Request& request, Signature signature, std::uint64_t sequence) {
  GroupCollective collective(context, request, signature, sequence);
  if (signature.on_device) {
    co_await collective.on_device();
  } else if (collective.fits_slot()) {
    co_await collective.through_slots();
  } else {
    co_await collective.in_pieces();
  }
}

}  // namespace minim::detail
