#include "topology.h"

#include <algorithm>
#include <map>

namespace minim::detail {

Topology make_topology(int rank, const std::vector<int>& colours) {
  Topology topology;
  topology.rank = rank;
  topology.size = static_cast<int>(colours.size());
  std::map<int, int> node_of_colour;
  for (int r = 0; r < topology.size; ++r) {
    const int colour = colours[static_cast<std::size_t>(r)];
    const int node = node_of_colour.try_emplace(colour, topology.nodes()).first->second;
    if (node == topology.nodes()) topology.ranks_of.emplace_back();
    auto& ranks = topology.ranks_of[static_cast<std::size_t>(node)];
    topology.node_of.push_back(node);
    topology.local_of.push_back(static_cast<int>(ranks.size()));
    ranks.push_back(r);
  }
  topology.node = topology.node_of[static_cast<std::size_t>(rank)];
  topology.local_rank = topology.local(rank);
  topology.lanes = topology.size;
  for (const auto& ranks : topology.ranks_of) topology.lanes = std::min(topology.lanes, static_cast<int>(ranks.size()));
  return topology;
}

}  // namespace minim::detail
