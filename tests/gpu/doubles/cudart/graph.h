#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "cudart/stream.h"
#include "sanitizers.h"

namespace cudart {

struct Event;

/// A captured operation.
struct Node {
  Operation operation;
  std::vector<int> after;  ///< nodes that it waits for
  int lane;                ///< nodes that were captured in one stream share a lane, and are ordered
  int stream;              ///< that stream's number
};

/// Operations and what they wait for, in the order of their capture.
struct Graph {
  std::vector<Node> nodes;
  int lanes = 0;
  std::vector<std::shared_ptr<Event>> waits;    ///< before the graph
  std::vector<std::shared_ptr<Event>> records;  ///< behind the graph
};

/// A graph that can be launched. One launch runs at a time, on the thread of the stream that it was launched in: its nodes one
/// after the other, in an order that the schedule chooses among those that the graph allows. To ThreadSanitizer lanes are
/// threads.
class GraphRun {
 public:
  GraphRun(Device& device, std::shared_ptr<const Graph> graph);

  Device& device() const { return device_; }
  const Graph& graph() const { return *graph_; }
  void run();

 private:
  std::size_t choose(const std::vector<int>& ready);
  void run_node(const Node& node, doubles::Order& start, std::vector<doubles::Order>& reached, doubles::Order& own);

  Device& device_;
  std::shared_ptr<const Graph> graph_;
  std::vector<std::unique_ptr<doubles::Strand>> lanes_;
  std::mt19937_64 random_;
};

/// Enqueues a launch. Refuses a stream that is being captured.
cudaError_t launch(const std::shared_ptr<GraphRun>& graph, const std::shared_ptr<Stream>& stream);

}  // namespace cudart
