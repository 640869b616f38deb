#include "trust_state.h"

namespace minim {

namespace {

constexpr std::int64_t kSquaresBytes = sizeof(ParameterSquares);

}  // namespace

std::int64_t TrustState::size_bytes(std::int64_t parameters, int ranks) {
  return parameters * (ranks * kSquaresBytes + minim::size_bytes(DType::fp32));
}

TrustState::TrustState(Backend& backend, const UpdateRule& rule, std::vector<TrustParameter> parameters, int rank, int ranks) {
  add_trust_kernels(backend);
  const auto count = static_cast<std::int64_t>(parameters.size());
  squares_ = backend.allocate_tensor(DType::uint8, Shape{ranks * count * kSquaresBytes}, MemoryKind::state);
  ratios_ = backend.allocate_tensor(DType::fp32, Shape{count}, MemoryKind::state);
  own_squares_ = squares().slice(rank * count * kSquaresBytes, (rank + 1) * count * kSquaresBytes);
  // A rank measures what it holds of a parameter; of others it holds nothing.
  const std::vector<std::uint8_t> zeros(static_cast<std::size_t>(squares().size_bytes()));
  backend.copy(squares(), {zeros.data(), DType::uint8, Shape{squares().elements()}});
  fold_ =
      backend.prepare(FoldSquares{.rule = rule, .parameters = std::move(parameters), .squares = squares(), .ratios = ratios()});
}

}  // namespace minim
