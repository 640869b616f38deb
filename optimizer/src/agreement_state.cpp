#include "agreement_state.h"

#include <algorithm>
#include <cstring>

#include "agreement_kernels.h"

namespace minim {

namespace {

constexpr std::int64_t kStateBytes = sizeof(StepState);
constexpr std::int64_t kRecordBytes = sizeof(AgreementRecord);
constexpr std::int64_t kReportWords = 2;

}  // namespace

std::int64_t AgreementState::size_bytes(int world_size, std::int64_t learning_rates) {
  return kStateBytes + world_size * kRecordBytes + (kReportWords + 1) * minim::size_bytes(DType::int32) +
         learning_rates * minim::size_bytes(DType::fp32);
}

AgreementState::AgreementState(Backend& backend, const AgreementConfig& config, std::uint64_t configuration,
                               std::span<const float> learning_rates, int rank, int world_size)
    : backend_(backend), configuration_(configuration) {
  add_agreement_kernels(backend);
  const auto allocate = [&](DType dtype, std::int64_t elements) {
    return backend.allocate_tensor(dtype, Shape{elements}, MemoryKind::state);
  };
  state_ = allocate(DType::uint8, kStateBytes);
  records_ = allocate(DType::uint8, world_size * kRecordBytes);
  report_ = allocate(DType::int32, kReportWords);
  overflow_ = allocate(DType::int32, 1);
  learning_rates_ = allocate(DType::fp32, static_cast<std::int64_t>(learning_rates.size()));
  std::copy(learning_rates.begin(), learning_rates.end(), learning_rates_.span<float>().begin());
  record_ = records().slice(rank * kRecordBytes, (rank + 1) * kRecordBytes);
  std::fill_n(records().data<std::uint8_t>(), records().size_bytes(), std::uint8_t{0});
  clear_overflow();
  write(initial_state(config.loss_scale));
  fold_ =
      backend.prepare(FoldAgreement{.config = config, .records = records(), .learning_rates = learning_rates_, .state = state()});
}

StepState AgreementState::read() const {
  StepState state;
  std::memcpy(&state, state_.view().raw(), sizeof state);
  return state;
}

void AgreementState::write(const StepState& state) const { std::memcpy(state_.view().raw(), &state, sizeof state); }

std::int32_t AgreementState::read_overflow() const { return *overflow().data<std::int32_t>(); }

void AgreementState::clear_overflow() const { *overflow().data<std::int32_t>() = kNoOverflow; }

void AgreementState::fill(Stream& stream, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct,
                          HostReport report) {
  const auto words = report_.span<std::int32_t>();
  words[0] = report.error_code;
  words[1] = report.stop_requested;
  const void* const sums[3] = {loss.raw(), weight.raw(), correct.raw()};
  if (!fill_ || !std::equal(std::begin(sums), std::end(sums), std::begin(filled_from_))) {
    fill_ = backend_.prepare(FillRecord{.loss = loss,
                                        .weight = weight,
                                        .correct = correct,
                                        .report = report_,
                                        .overflow = overflow(),
                                        .state = state(),
                                        .configuration = configuration_,
                                        .record = record()});
    std::copy(std::begin(sums), std::end(sums), std::begin(filled_from_));
  }
  fill_->launch(stream);
}

}  // namespace minim
