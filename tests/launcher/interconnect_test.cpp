#include "command/interconnect.h"

#include <gtest/gtest.h>

namespace minim::command {
namespace {

/// Nodes of 4 with 100 B/s, 10 B/s between them; a step of large messages takes 1 and 8 s, one of small ones 0.5 and 4 s.
const Interconnect kLinks = {.node_size = 4,
                             .node = {.bandwidth = 100, .step_latency = 1, .small_step_latency = 0.5},
                             .network = {.bandwidth = 10, .step_latency = 8, .small_step_latency = 4}};

TEST(Link, SendsInTheFasterOfTwoWays) {
  EXPECT_EQ(kLinks.node.seconds(3, 1000), 10 + 3 * 1);
  EXPECT_EQ(kLinks.node.seconds(3, 100), 2 * 1 + 3 * 0.5);
  EXPECT_EQ(kLinks.node.seconds(0, 0), 0);
}

TEST(Interconnect, HasRingsInAndBetweenNodes) {
  EXPECT_EQ(ring_seconds(kLinks, 1, 8000), 0);
  // 3 steps with 3/4 of the message.
  EXPECT_EQ(ring_seconds(kLinks, 4, 8000), 60 + 3);
  // Two ranks are a smaller ring.
  EXPECT_EQ(ring_seconds(kLinks, 2, 8000), 40 + 1);
  // Then a quarter of the message goes once around two nodes: half of it in 1 step.
  EXPECT_EQ(ring_seconds(kLinks, 8, 8000), 60 + 3 + 100 + 8);
  // Nothing but latency, in the way of small messages.
  EXPECT_EQ(ring_seconds(kLinks, 16, 0), 3 * 0.5 + 3 * 4);
}

TEST(Interconnect, ExchangesPartsWithEveryRank) {
  // Parts of 1000 to 3 ranks of the node and to 4 others.
  EXPECT_EQ(exchange_seconds(kLinks, 8, 8000), 30 + 3 + 400 + 8);
}

TEST(Interconnect, OfAGpuIsThatOfItsLinks) {
  const GpuModel& h100 = *find_gpu_model("h100");
  const Interconnect links = interconnect_of(h100, 400);
  EXPECT_EQ(links.node_size, 8);
  EXPECT_EQ(links.node.bandwidth, 450e9);
  EXPECT_EQ(links.network.bandwidth, 50e9);
  EXPECT_LT(links.node.step_latency, interconnect_of(*find_gpu_model("l4"), 400).node.step_latency) << "PCIe is slower";
}

}  // namespace
}  // namespace minim::command
