#include "agreement_kernels.h"

#include "minim/optimizer/update_rule.h"

namespace minim {

namespace {

void fill_record(const FillRecord& args) {
  const auto& state = *static_cast<const StepState*>(args.state.raw());
  const auto report = args.report.span<std::int32_t>();
  AgreementRecord record;
  record.error_code = report[0];
  record.stop_requested = report[1];
  const std::int32_t overflow = *args.overflow.data<std::int32_t>();
  if (overflow != kNoOverflow && record.error_code == 0) {
    record.error_code = static_cast<std::int32_t>(AgreementError::weight_overflow);
    record.first_bad_parameter = overflow;
  }
  record.step = state.attempted;
  record.configuration = args.configuration;
  record.loss = static_cast<double>(*args.loss.data<float>());
  record.weight = static_cast<double>(*args.weight.data<float>());
  record.correct = static_cast<double>(*args.correct.data<float>());
  *static_cast<AgreementRecord*>(args.record.raw()) = record;
}

void fold(const FoldAgreement& args) {
  const auto records = static_cast<std::size_t>(args.records.size_bytes()) / sizeof(AgreementRecord);
  fold_agreement(*static_cast<StepState*>(args.state.raw()), {static_cast<const AgreementRecord*>(args.records.raw()), records},
                 args.config, args.learning_rates.span<float>());
}

}  // namespace

void add_agreement_kernels(Backend& backend) {
  if (!backend.has_kernel<FillRecord>()) backend.add_kernel(host_kernel<FillRecord>(fill_record), backend.name());
  if (!backend.has_kernel<FoldAgreement>()) backend.add_kernel(host_kernel<FoldAgreement>(fold), backend.name());
}

}  // namespace minim
