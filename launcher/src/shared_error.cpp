#include "minim/launcher/shared_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace minim {
namespace {

constexpr std::size_t kLongestText = 2048;

[[noreturn]] void throw_as(RankError::Kind kind, const std::string& text) {
  switch (kind) {
    case RankError::Kind::invalid_argument: throw InvalidArgument(text);
    case RankError::Kind::data: throw DataError(text);
    case RankError::Kind::device: throw SharedDeviceError(text);
    case RankError::Kind::numeric: throw NumericError(text);
    default: throw Error(text);
  }
}

}  // namespace

RankError RankError::current() {
  try {
    throw;
  } catch (const InvalidArgument& error) {
    return {Kind::invalid_argument, error.what()};
  } catch (const DataError& error) {
    return {Kind::data, error.what()};
  } catch (const DeviceError& error) {
    return {Kind::device, error.what()};
  } catch (const NumericError& error) {
    return {Kind::numeric, error.what()};
  } catch (const std::exception& error) {
    return {Kind::other, error.what()};
  } catch (...) {
    return {Kind::other, "an unknown exception"};
  }
}

void throw_error_of(Communicator& communicator, int rank, const RankError& error) {
  struct Message {
    std::int32_t kind;
    char text[kLongestText];
  };
  Message message{};
  if (communicator.rank() == rank) {
    message.kind = static_cast<std::int32_t>(error.kind);
    std::copy_n(error.text.data(), std::min(error.text.size(), kLongestText - 1), message.text);
  }
  const TensorView bytes(&message, DType::uint8, Shape{sizeof(Message)});
  communicator.broadcast(bytes, rank, {.label = "text of an error", .after = {}}).wait();
  const std::string text = communicator.size() > 1 ? fmt::format("rank {}: {}", rank, message.text) : message.text;
  throw_as(static_cast<RankError::Kind>(message.kind), text);
}

void agree_on_errors(Communicator& communicator, const RankError& error) {
  std::vector<std::int32_t> kinds(static_cast<std::size_t>(communicator.size()));
  kinds[static_cast<std::size_t>(communicator.rank())] = static_cast<std::int32_t>(error.kind);
  const TensorView view(kinds.data(), DType::int32, Shape{communicator.size()});
  communicator.all_gather(view, {.label = "agreement on errors", .after = {}}).wait();
  const auto failed = std::find_if(kinds.begin(), kinds.end(), [](std::int32_t kind) { return kind != 0; });
  if (failed != kinds.end()) throw_error_of(communicator, static_cast<int>(failed - kinds.begin()), error);
}

}  // namespace minim
