#include "cudart/graph.h"

#include <algorithm>
#include <mutex>

#include "cudart/capture.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"

namespace cudart {

GraphRun::GraphRun(Device& device, std::shared_ptr<const Graph> graph)
    : device_(device), graph_(std::move(graph)), random_(settings().schedule.seed) {
  for (int lane = 0; lane < graph_->lanes; ++lane) lanes_.push_back(std::make_unique<doubles::Strand>());
}

/// The place in `ready`, which is in the order of capture.
std::size_t GraphRun::choose(const std::vector<int>& ready) {
  const Schedule& schedule = settings().schedule;
  switch (schedule.kind) {
    case ScheduleKind::eager: return 0;
    case ScheduleKind::lazy: return ready.size() - 1;
    case ScheduleKind::random: return random_() % ready.size();
    case ScheduleKind::slow: break;
  }
  const auto is_fast = [&](int node) { return graph_->nodes[static_cast<std::size_t>(node)].stream != schedule.slow_stream; };
  const auto fast = std::find_if(ready.begin(), ready.end(), is_fast);
  return fast == ready.end() ? 0 : static_cast<std::size_t>(fast - ready.begin());
}

void GraphRun::run_node(const Node& node, doubles::Order& start, std::vector<doubles::Order>& reached, doubles::Order& own) {
  doubles::Strand& strand = *lanes_[static_cast<std::size_t>(node.lane)];
  strand.enter();
  start.observe();
  for (const int before : node.after) reached[static_cast<std::size_t>(before)].observe();
  cudart::run(node.operation, device_);
  own.publish();
  strand.leave();
}

void GraphRun::run() {
  const std::vector<Node>& nodes = graph_->nodes;
  std::vector<std::size_t> awaited(nodes.size());
  std::vector<std::vector<int>> followers(nodes.size());
  std::vector<int> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    awaited[i] = nodes[i].after.size();
    for (const int before : nodes[i].after) followers[static_cast<std::size_t>(before)].push_back(static_cast<int>(i));
    if (awaited[i] == 0) ready.push_back(static_cast<int>(i));
  }
  doubles::Order start;
  start.publish();
  std::vector<doubles::Order> reached(nodes.size());
  while (!ready.empty()) {
    const auto chosen = ready.begin() + static_cast<std::ptrdiff_t>(choose(ready));
    const auto index = static_cast<std::size_t>(*chosen);
    ready.erase(chosen);
    run_node(nodes[index], start, reached, reached[index]);
    for (const int follower : followers[index]) {
      if (--awaited[static_cast<std::size_t>(follower)] > 0) continue;
      ready.insert(std::upper_bound(ready.begin(), ready.end(), follower), follower);
    }
  }
  for (doubles::Order& order : reached) order.observe();
}

cudaError_t launch(const std::shared_ptr<GraphRun>& graph, const std::shared_ptr<Stream>& stream) {
  if (capture_status(*stream, nullptr) != cudaStreamCaptureStatusNone) {
    refuse("cudaGraphLaunch in a stream that is being captured is more than this double can do");
  }
  for (const auto& event : graph->graph().waits) {
    if (const cudaError_t error = wait(stream, *event); error != cudaSuccess) return error;
  }
  const cudaError_t error = submit(stream, {"a graph", [graph] { graph->run(); }});
  if (error != cudaSuccess) return error;
  for (const auto& event : graph->graph().records) {
    if (const cudaError_t failed = record(*event, stream); failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace cudart
