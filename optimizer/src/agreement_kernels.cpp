#include "agreement_kernels.h"

#include "cuda_kernels.h"

namespace minim {

namespace {

void fill_record(const FillRecord& args) {
  *static_cast<AgreementRecord*>(args.record.raw()) = agreement::make_record(agreement::sources_of(args));
}

void fold(const FoldAgreement& args) { agreement::fold(*static_cast<StepState*>(args.state.raw()), agreement::sources_of(args)); }

}  // namespace

namespace agreement {

RecordSources sources_of(const FillRecord& args) {
  return {.loss = args.loss.data<float>(),
          .weight = args.weight.data<float>(),
          .correct = args.correct.data<float>(),
          .report = args.report.data<std::int32_t>(),
          .overflow = args.overflow.data<std::int32_t>(),
          .state = static_cast<const StepState*>(args.state.raw()),
          .configuration = args.configuration};
}

FoldSources sources_of(const FoldAgreement& args) {
  return {.records = static_cast<const AgreementRecord*>(args.records.raw()),
          .ranks = args.records.size_bytes() / static_cast<std::int64_t>(sizeof(AgreementRecord)),
          .learning_rates = args.learning_rates.data<float>(),
          .learning_rate_count = args.learning_rates.elements(),
          .config = args.config};
}

}  // namespace agreement

void add_agreement_kernels(Backend& backend) {
  if (add_cuda_kernels(backend)) return;
  if (!backend.has_kernel<FillRecord>()) backend.add_kernel(host_kernel<FillRecord>(fill_record), backend.name());
  if (!backend.has_kernel<FoldAgreement>()) backend.add_kernel(host_kernel<FoldAgreement>(fold), backend.name());
}

}  // namespace minim
