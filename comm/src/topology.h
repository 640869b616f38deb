#pragma once

#include <vector>

namespace minim::detail {

/// Which ranks share a node. Between nodes, lane k of the nodes is served by their k-th ranks; there are as many lanes as the
/// smallest node has ranks.
struct Topology {
  int rank = 0;
  int size = 1;
  int node = 0;        ///< of this rank
  int local_rank = 0;  ///< of this rank
  int lanes = 1;
  std::vector<int> node_of;                ///< rank -> node; nodes are numbered by their lowest ranks
  std::vector<int> local_of;               ///< rank -> local rank
  std::vector<std::vector<int>> ranks_of;  ///< node -> ranks, ascending

  int nodes() const { return static_cast<int>(ranks_of.size()); }
  const std::vector<int>& local_ranks() const { return ranks_of[static_cast<std::size_t>(node)]; }
  int local_size() const { return static_cast<int>(local_ranks().size()); }
  bool is_local(int other) const { return node_of[static_cast<std::size_t>(other)] == node; }
  int local(int other) const { return local_of[static_cast<std::size_t>(other)]; }
  int rank_at(int in_node, int at_local_rank) const {
    return ranks_of[static_cast<std::size_t>(in_node)][static_cast<std::size_t>(at_local_rank)];
  }
};

/// `colours[r]` is equal for ranks on the same node and different otherwise.
Topology make_topology(int rank, const std::vector<int>& colours);

}  // namespace minim::detail
