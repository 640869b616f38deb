#include "group_communicator.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

/// How often a waiting rank looks whether its peers' processes still exist.
constexpr std::chrono::milliseconds kBetweenChecksOfLives{50};
/// A collective of the devices ends at about the same time on all ranks. One that has ended on a rank which then went must have
/// ended here after so long.
constexpr std::chrono::milliseconds kGraceOfDevices{500};

bool is_crowded(int ranks) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return false;
  // Bound ranks have a core each: their mask says nothing about the others.
  return CPU_COUNT(&cores) > 1 && ranks > CPU_COUNT(&cores);
}

}  // namespace

GroupCommunicator::GroupCommunicator(std::string_view name, Topology topology, Segment segment,
                                     std::unique_ptr<Transport> transport, std::chrono::milliseconds deadline)
    : QueuedCommunicator(is_crowded(topology.local_size())),
      name_(name),
      topology_(std::move(topology)),
      node_(topology_, std::move(segment)),
      transport_(std::move(transport)),
      deadline_(deadline) {}

Steps GroupCommunicator::start(const Collective& collective) {
  nodes_meet_ = false;
  rest_.reset();
  const Request& request = collective.request();
  Signature signature = collective.signature();
  signature.on_device = is_on_device(request);
  if (signature.on_device && !device_->is_device_memory(request.output.raw())) {
    throw InvalidArgument(fmt::format("{}: the input lies on a device, the output does not", signature.title()));
  }
  const GroupContext context{topology_, node_, transport_.get(), *registry_, scratch_, nodes_meet_, device_.get(), rest_};
  return run_collective(context, request, signature, begun());
}

bool GroupCommunicator::is_on_device(const Request& request) const {
  return device_ && request.input.elements() > 0 && device_->is_device_memory(request.input.raw());
}

bool GroupCommunicator::begins_early(const Collective& collective) {
  const Request& request = collective.request();
  // The last is asked of the driver, at every look at a collective that waits.
  return device_ && device_->can_wait_for(request.options.after) && is_on_device(request);
}

/// Where there is a device no stream is made to wait for the host: that holds up what needs the device to come to rest, such as
/// memory to be had and kernels to be loaded.
void GroupCommunicator::order(Collective& collective, Stream& stream) {
  if (!device_) return QueuedCommunicator::order(collective, stream);
  drive_to_device(collective);
  if (collective.done()) return collective.rethrow_failure();
  stream.wait(*collective.rest());
}

Buffer GroupCommunicator::allocate_on_device(const Backend& backend, std::int64_t size_bytes, MemoryKind kind) {
  if (!device_) {
    throw InvalidArgument(fmt::format("communicator \"{}\" reaches the host's memory only, that of backend \"{}\" is asked for",
                                      name_, backend.name()));
  }
  barrier({.label = fmt::format("allocation of {} bytes", size_bytes), .after = {}}).wait();
  return device_->allocate(size_bytes, kind);
}

void GroupCommunicator::abort(const std::string& reason) {
  const std::string text = fmt::format("aborted by rank {}: {}", rank(), reason);
  fail(std::make_exception_ptr(CommError(text)), text);
}

void GroupCommunicator::check_node() {
  if (node_.failed()) throw CommError(node_.failure_reason());
}

void GroupCommunicator::check_peers(const Collective& collective, Clock::duration silent) {
  if (silent <= last_silence_) {  // another silence than the last one
    next_check_of_lives_ = kBetweenChecksOfLives;
    hint_sent_ = false;
    told_of_devices_.reset();
  }
  last_silence_ = silent;
  if (silent >= next_check_of_lives_) {
    next_check_of_lives_ = silent + kBetweenChecksOfLives;
    check_lives(collective, silent);
  }
  // Nodes compare notes half way to the first deadline, or when another one begins to: a rank that waits for one that waits for a
  // third shall name the third.
  if (transport_ && !hint_sent_ && (silent >= deadline_ / 2 || hint_sequence_ == begun())) send_hint();
  const auto told_of = [&](const auto& word) { return word.second.sequence == collective.number(); };
  if (transport_ && collective.rest() && (silent >= deadline_ / 2 || std::ranges::any_of(device_words_, told_of))) {
    tell_of_devices(collective);
  }
  if (silent >= deadline_) give_up(collective, silent);
}

void GroupCommunicator::check_other_nodes() {
  if (!transport_) return;
  while (const auto notice = transport_->poll_notice()) {
    if (notice->kind == Notice::Kind::failure) throw CommError(notice->text);
    if (notice->kind == Notice::Kind::at_work) {
      node_.pass_on_word_of_work();
      forget_hints();
      continue;
    }
    if (notice->kind == Notice::Kind::devices) {
      device_words_[node_of(notice->from)] = *notice;
      continue;
    }
    if (notice->sequence > hint_sequence_) {
      hinted_.clear();
      alive_.clear();
      hint_sequence_ = notice->sequence;
    }
    if (notice->sequence < hint_sequence_) continue;
    hinted_.insert(notice->ranks, notice->ranks + notice->rank_count);
    alive_.insert(notice->from);
  }
}

/// Ranks of other nodes that wait for a collective which this one has not come to, or not completed, get an answer.
void GroupCommunicator::show_work() {
  node_.show_work();
  if (!transport_) return;
  while (const auto notice = transport_->poll_notice()) {
    if (notice->kind == Notice::Kind::failure) throw CommError(notice->text);
    if (notice->kind == Notice::Kind::missing && notice->sequence >= begun()) tell_of_work(notice->from);
  }
}

bool GroupCommunicator::peers_at_work() {
  const std::uint64_t signs = node_.work_signs();
  const std::uint64_t words = node_.work_words();
  const bool here = std::exchange(work_signs_, signs) != signs;
  const bool elsewhere = std::exchange(work_words_, words) != words;
  if (here) answer_hints();
  if (elsewhere) forget_hints();
  return here || elsewhere;
}

/// Other nodes wait for a rank of this one, which has just shown that it is at work. What only was heard of a third node is not
/// told again: two nodes that wait would keep each other waiting for ever.
void GroupCommunicator::answer_hints() {
  if (!transport_ || hint_sequence_ != begun()) return;
  for (const int waiting : alive_) tell_of_work(waiting);
  forget_hints();
}

void GroupCommunicator::tell_of_work(int rank) const {
  Notice notice;
  notice.kind = Notice::Kind::at_work;
  notice.from = this->rank();
  transport_->notify(rank, notice);
}

void GroupCommunicator::forget_hints() {
  hinted_.clear();
  alive_.clear();
  hint_sequence_ = 0;
}

std::vector<int> GroupCommunicator::needed_ranks(const Collective& collective, Clock::duration silent) const {
  std::vector<int> ranks = node_.missing();
  if (transport_) {
    for (const int r : transport_->awaited()) ranks.push_back(r);
  }
  for (int r = 0; r < size() && collective.rest() && silent >= kGraceOfDevices; ++r) {
    if (r != rank()) ranks.push_back(r);
  }
  return ranks;
}

bool GroupCommunicator::is_gone(int rank) const {
  if (topology_.is_local(rank)) return node_.has_left(rank) || node_.has_ended(rank);
  return transport_->lost(rank);
}

void GroupCommunicator::check_lives(const Collective& collective, Clock::duration silent) {
  for (const int peer : needed_ranks(collective, silent)) {
    if (!is_gone(peer)) continue;
    check_node();  // a rank that fails says why before it goes
    check_other_nodes();
    // It may have come to this collective and gone in between.
    const auto needed = needed_ranks(collective, silent);
    if (std::find(needed.begin(), needed.end(), peer) == needed.end()) continue;
    const bool left = topology_.is_local(peer) && node_.has_left(peer);
    throw CommError(fmt::format("rank {} {} {}", peer, left ? "has left before" : "is gone in", collective.signature().title()));
  }
}

std::vector<int> GroupCommunicator::silent_ranks() const {
  std::vector<int> ranks = node_.missing();
  std::erase_if(ranks, [&](int r) { return node_.waits_for_other_nodes(r); });
  if (transport_ && node_.waits_for_other_nodes(rank())) {
    for (const int r : transport_->awaited()) ranks.push_back(r);
  }
  return ranks;
}

void GroupCommunicator::send_hint() {
  hint_sent_ = true;
  const std::vector<int> ranks = silent_ranks();
  if (ranks.empty()) return;
  tell_other_nodes(Notice::Kind::missing, begun(), ranks);
}

/// The first two of each node, in case one of them is what is missing.
void GroupCommunicator::tell_other_nodes(Notice::Kind kind, std::uint64_t sequence, const std::vector<int>& ranks) const {
  Notice notice;
  notice.kind = kind;
  notice.from = rank();
  notice.sequence = sequence;
  notice.rank_count = std::min(static_cast<int>(ranks.size()), Notice::kMostRanks);
  std::copy_n(ranks.begin(), notice.rank_count, notice.ranks);
  for (int r = 0; r < size(); ++r) {
    if (!topology_.is_local(r) && topology_.local(r) < 2) transport_->notify(r, notice);
  }
}

/// Two of the node's ranks whose devices are there tell the other nodes.
void GroupCommunicator::tell_of_devices(const Collective& collective) {
  std::vector<int> behind = node_.devices_behind(collective.number());
  if (told_of_devices_ == behind) return;
  const auto is_there = [&](int r) { return std::ranges::find(behind, r) == behind.end(); };
  const auto& local = topology_.local_ranks();
  const auto before = std::ranges::count_if(local, [&](int r) { return r < rank() && is_there(r); });
  if (before < 2) tell_other_nodes(Notice::Kind::devices, collective.number(), behind);
  told_of_devices_ = std::move(behind);
}

/// The first two ranks of a node are told. Of a node that has said nothing no device has come.
std::vector<int> GroupCommunicator::devices_behind(const Collective& collective) const {
  std::vector<int> ranks = node_.devices_behind(collective.number());
  for (int n = 0; n < nodes() && topology_.local_rank < 2; ++n) {
    if (n == topology_.node) continue;
    const auto word = device_words_.find(n);
    if (word == device_words_.end() || word->second.sequence != collective.number()) {
      const auto& all = topology_.ranks_of[static_cast<std::size_t>(n)];
      ranks.insert(ranks.end(), all.begin(), all.end());
    } else {
      ranks.insert(ranks.end(), word->second.ranks, word->second.ranks + word->second.rank_count);
    }
  }
  std::ranges::sort(ranks);
  return ranks;
}

void GroupCommunicator::give_up(const Collective& collective, Clock::duration silent) {
  const Signature signature = collective.signature();
  std::vector<int> ranks = silent_ranks();
  if (const auto behind = devices_behind(collective); ranks.empty() && collective.rest() && !behind.empty()) {
    throw CommError(fmt::format("{}: not reached by the device of {} after {:.1f} s", signature.title(), rank_list(behind),
                                std::chrono::duration<double>(silent).count()));
  }
  // A node's first rank knows best about other nodes; its peers give it time to speak.
  const bool first_rank_knows = ranks.empty() || (topology_.local_rank != 0 && node_.waits_for_other_nodes(rank()));
  if (first_rank_knows && silent < deadline_ * 5 / 4) return;
  if (hint_sequence_ == begun()) ranks = add_hints(ranks);
  if (ranks.empty()) ranks = node_.missing();
  if (ranks.empty() && collective.rest()) {
    throw CommError(fmt::format("{}: all ranks have come, {} has not done it after {:.1f} s", signature.title(), name(),
                                std::chrono::duration<double>(silent).count()));
  }
  if (ranks.empty()) return;  // they have come meanwhile
  throw CommError(missing_text(signature, ranks, deadline_));
}

/// Adds what other nodes are waiting for, and the nodes that said nothing where all should have come; leaves out ranks that
/// spoke.
std::vector<int> GroupCommunicator::add_hints(const std::vector<int>& ranks) const {
  std::set<int> missing(ranks.begin(), ranks.end());
  missing.insert(hinted_.begin(), hinted_.end());
  for (int n = 0; n < nodes() && nodes_meet_; ++n) missing.insert(topology_.rank_at(n, 0));
  for (const int r : alive_) missing.erase(r);
  missing.erase(rank());
  return missing.empty() ? ranks : std::vector<int>(missing.begin(), missing.end());
}

/// What is abandoned may still be written to the scratch memory, and use what `allocate` gave out.
void GroupCommunicator::abandon_messages() noexcept {
  registry_->abandon();
  transport_->abandon();
  transport_->keep(std::make_shared<const Scratch>(std::move(scratch_)));
  scratch_ = {};
}

void GroupCommunicator::close_transport() {
  if (transport_ && !idle()) abandon_messages();
  transport_.reset();
}

void GroupCommunicator::spread_failure(const std::string& reason) noexcept {
  const bool first_to_know = node_.fail(reason);
  if (transport_) {
    try {
      abandon_messages();
      if (first_to_know) spread_to_other_nodes(reason);
    } catch (const std::exception&) {
      // The other nodes find out by their own deadlines.
    }
  }
  if (device_) device_->abort();  // last: it may take a moment
}

void GroupCommunicator::spread_to_other_nodes(const std::string& reason) {
  Notice notice;
  notice.from = rank();
  const std::size_t length = std::min(reason.size(), sizeof notice.text - 1);
  std::memcpy(notice.text, reason.data(), length);
  for (int r = 0; r < size(); ++r) {
    if (!topology_.is_local(r)) transport_->notify(r, notice);
  }
}

}  // namespace minim::detail
