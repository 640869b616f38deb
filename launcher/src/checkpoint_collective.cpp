#include "checkpoint_collective.h"

#include <algorithm>
#include <vector>

namespace minim {

std::string broadcast_text(Communicator& communicator, std::string text, int root) {
  auto size = static_cast<std::int64_t>(text.size());
  communicator.broadcast(TensorView(&size, DType::int64, Shape{1}), root, {.label = "size of a text", .after = {}}).wait();
  text.resize(static_cast<std::size_t>(size));
  communicator.broadcast(TensorView(text.data(), DType::uint8, Shape{size}), root, {.label = "a text", .after = {}}).wait();
  return text;
}

std::string first_text(Communicator& communicator, std::string text) {
  std::vector<std::int32_t> present(static_cast<std::size_t>(communicator.size()));
  present[static_cast<std::size_t>(communicator.rank())] = text.empty() ? 0 : 1;
  const TensorView view(present.data(), DType::int32, Shape{communicator.size()});
  communicator.all_gather(view, {.label = "who has a text", .after = {}}).wait();
  const auto first = std::find(present.begin(), present.end(), 1);
  if (first == present.end()) return {};
  return broadcast_text(communicator, std::move(text), static_cast<int>(first - present.begin()));
}

}  // namespace minim
