#include "plan/recording.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "minim/runtime/error.h"

namespace minim {

namespace {

using Kind = Storage::Kind;

std::string readable(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? text.get() : type.name();
  constexpr std::string_view kOurs = "minim::";
  return name.starts_with(kOurs) ? name.substr(kOurs.size()) : name;
}

/// Gives every storage an address that no memory has, wide enough apart that slices still tell where they come from.
class Recorder final : public Walk {
 public:
  using Walk::Walk;

  Recording take() { return {storages(), values(), std::move(kernels_)}; }

 private:
  static constexpr std::uintptr_t kMark = std::uintptr_t{1} << 62U;
  static constexpr unsigned kStorageShift = 40;

  void* address(int storage) override {
    return reinterpret_cast<void*>(kMark | static_cast<std::uintptr_t>(storage) << kStorageShift);
  }

  void add_kernel(const Site& site, const ErasedKernel& kernel) override {
    KernelRecord record;
    record.node = site.node;
    record.backward = site.backward;
    record.can_accumulate = kernel.can_accumulate;
    record.gathers = kernel.gathered.present();
    record.name = readable(*kernel.arguments);
    record.kernel_set = kernel.kernel_set;
    record.workspace = {round_up(kernel.workspace.size_bytes, kAlignmentBytes), kernel.workspace.is_known};
    record.flops = kernel.flops;
    record.reads = storages_behind(kernel.reads, record.bytes);
    record.writes = storages_behind(kernel.writes, record.bytes);
    std::ranges::copy_if(site.in_place, std::back_inserter(record.in_place), [&](const InPlace& pair) {
      return std::ranges::count(record.writes, pair.output) != 0 && std::ranges::count(record.reads, pair.input) != 0;
    });
    kernels_.push_back(std::move(record));
  }

  /// A kernel may also touch memory of the operation's own; that is not the plan's business.
  static std::vector<int> storages_behind(const std::vector<ConstTensorView>& views, std::int64_t& bytes) {
    std::vector<int> ids;
    for (const ConstTensorView& view : views) {
      bytes += view.size_bytes();
      const auto value = reinterpret_cast<std::uintptr_t>(view.raw());
      if ((value & kMark) != 0) ids.push_back(static_cast<int>((value & ~kMark) >> kStorageShift));
    }
    return ids;
  }

  std::vector<KernelRecord> kernels_;
};

const Storage& at(const Recording& recording, int storage) { return recording.storages[static_cast<std::size_t>(storage)]; }

std::string describe(const Graph& graph, int node) {
  const Graph::Node& n = graph.nodes()[static_cast<std::size_t>(node)];
  return fmt::format("{} \"{}\"", n.operation->type(), n.name);
}

/// Kernels whose results nobody reads are dropped, last to first.
void drop_dead_kernels(Recording& recording) {
  std::vector<bool> needed;
  for (const Storage& storage : recording.storages) needed.push_back(storage.kind != Kind::arena);
  for (auto kernel = recording.kernels.rbegin(); kernel != recording.kernels.rend(); ++kernel) {
    kernel->live = std::ranges::any_of(kernel->writes, [&](int s) { return needed[static_cast<std::size_t>(s)]; });
    if (!kernel->live) continue;
    // What a kernel writes it may also add to, so earlier writers of it are needed, too.
    for (const auto* touched : {&kernel->reads, &kernel->writes}) {
      for (const int s : *touched) needed[static_cast<std::size_t>(s)] = true;
    }
  }
}

void check_written_before_read(const Graph& graph, const Recording& recording) {
  std::vector<bool> written;
  for (const Storage& storage : recording.storages)
    written.push_back(storage.kind != Kind::arena && storage.kind != Kind::pinned);
  for (const auto& input : graph.inputs()) {
    written[static_cast<std::size_t>(recording.values[static_cast<std::size_t>(input.value.id)].storage)] = true;
  }
  for (const KernelRecord& kernel : recording.kernels) {
    if (!kernel.live) continue;
    for (const int s : kernel.reads) {
      if (written[static_cast<std::size_t>(s)]) continue;
      throw InvalidArgument(fmt::format("{}: its {} reads a tensor of {} that no kernel before it writes",
                                        describe(graph, kernel.node), kernel.name, describe(graph, at(recording, s).node)));
    }
    for (const int s : kernel.writes) written[static_cast<std::size_t>(s)] = true;
  }
}

/// The first kernel that writes a gradient overwrites it, later ones of the pass add.
void plan_accumulation(const Graph& graph, Recording& recording) {
  std::vector<bool> written(recording.storages.size());
  for (KernelRecord& kernel : recording.kernels) {
    std::vector<int> first, later;
    for (const int s : kernel.writes) {
      if (at(recording, s).kind == Kind::gradient) (written[static_cast<std::size_t>(s)] ? later : first).push_back(s);
    }
    if (first.empty() && later.empty()) continue;
    if (!kernel.can_accumulate) {
      throw InvalidArgument(fmt::format("{}: its {} writes the gradient of a parameter and has no member `accumulate`",
                                        describe(graph, kernel.node), kernel.name));
    }
    kernel.always_accumulates = !later.empty();
    if (!later.empty()) kernel.zero_first = first;
    for (const int s : first) written[static_cast<std::size_t>(s)] = true;
  }
}

}  // namespace

Recording record(const Graph& graph, const Backend& backend, const CompileOptions& options) {
  Recorder recorder(graph, backend, options);
  recorder.run();
  Recording recording = recorder.take();
  drop_dead_kernels(recording);
  check_written_before_read(graph, recording);
  plan_accumulation(graph, recording);
  return recording;
}

std::vector<const Parameter*> first_weight_uses(const Recording& recording, std::size_t kernel) {
  const KernelRecord& record = recording.kernels[kernel];
  const auto before = std::span(recording.kernels).first(kernel);
  std::vector<const Parameter*> found;
  for (const int s : record.reads) {
    const auto reads_too = [&](const KernelRecord& earlier) {
      return earlier.live && earlier.backward == record.backward && std::ranges::count(earlier.reads, s) != 0;
    };
    const Storage& weight = at(recording, s);
    if (weight.kind != Kind::weight || std::ranges::any_of(before, reads_too)) continue;
    if (std::ranges::count(found, weight.parameter) == 0) found.push_back(weight.parameter);
  }
  return found;
}

std::vector<const Parameter*> completed_gradients(const Recording& recording, std::size_t kernel) {
  const auto after = std::span(recording.kernels).subspan(kernel + 1);
  std::vector<const Parameter*> found;
  for (const int s : recording.kernels[kernel].writes) {
    const auto writes_too = [s](const KernelRecord& later) { return std::ranges::count(later.writes, s) != 0; };
    if (at(recording, s).kind != Kind::gradient || std::ranges::any_of(after, writes_too)) continue;
    found.push_back(at(recording, s).parameter);
  }
  return found;
}

}  // namespace minim
