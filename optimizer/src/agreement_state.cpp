#include "agreement_state.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "agreement_kernels.h"
#include "minim/runtime/transfer.h"

namespace minim {

namespace {

constexpr std::int64_t kStateBytes = sizeof(StepState);
constexpr std::int64_t kRecordBytes = sizeof(AgreementRecord);
constexpr std::int64_t kReportWords = 2;
constexpr std::int64_t kReportBytes = kReportWords * size_bytes(DType::int32);

}  // namespace

std::int64_t AgreementState::size_bytes(int world_size, std::int64_t learning_rates) {
  return kStateBytes + world_size * kRecordBytes + kReportBytes + minim::size_bytes(DType::int32) +
         learning_rates * minim::size_bytes(DType::fp32);
}

std::int64_t AgreementState::staging_bytes() { return kStepsUnderWay * (kStateBytes + kReportBytes); }

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
  for (Tensor& fetched : fetched_) fetched = backend.allocate_host_tensor(DType::uint8, Shape{kStateBytes}, MemoryKind::staging);
  for (Tensor& report : host_report_) {
    report = backend.allocate_host_tensor(DType::int32, Shape{kReportWords}, MemoryKind::staging);
  }
  upload(backend, learning_rates, learning_rates_);
  record_ = records().slice(rank * kRecordBytes, (rank + 1) * kRecordBytes);
  const std::vector<std::uint8_t> zeros(static_cast<std::size_t>(records().size_bytes()));
  backend.copy(records(), {zeros.data(), DType::uint8, Shape{records().elements()}});
  clear_overflow();
  write(initial_state(config.loss_scale));
  fold_ =
      backend.prepare(FoldAgreement{.config = config, .records = records(), .learning_rates = learning_rates_, .state = state()});
}

StepState AgreementState::fetched(int slot) const {
  StepState state;
  std::memcpy(&state, fetched_[slot].view().raw(), sizeof state);
  return state;
}

void AgreementState::write(const StepState& state) { backend_.copy(state_, {&state, DType::uint8, Shape{kStateBytes}}); }

std::int32_t AgreementState::read_overflow() const {
  std::int32_t parameter = kNoOverflow;
  backend_.copy({&parameter, DType::int32, Shape{1}}, overflow());
  return parameter;
}

void AgreementState::clear_overflow() { backend_.copy(overflow(), {&kNoOverflow, DType::int32, Shape{1}}); }

void AgreementState::fill(Stream& stream, int slot, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct,
                          HostReport report) {
  const auto words = host_report_[slot].span<std::int32_t>();
  words[0] = report.error_code;
  words[1] = report.stop_requested;
  stream.copy(report_, host_report_[slot]);
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
