#include "agreement_kernels.h"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/optimizer_kernels.h"

namespace minim::cuda {
namespace agreement_kernels {

/// One thread does it all: it is little work, in a fixed order.
inline constexpr LaunchShape kOneThread{.blocks = 1, .threads = 1};

__global__ void fill_record(agreement::RecordSources sources, AgreementRecord* record) {
  *record = agreement::make_record(sources);
}

__global__ void fold_records(agreement::FoldSources sources, StepState* state) { agreement::fold(*state, sources); }

std::function<void(Stream&)> make_fill(const FillRecord& args) {
  const agreement::RecordSources sources = agreement::sources_of(args);
  auto* const record = static_cast<AgreementRecord*>(args.record.raw());
  return [=](Stream& stream) { launch<fill_record>(stream, kOneThread, sources, record); };
}

std::function<void(Stream&)> make_fold(const FoldAgreement& args) {
  const agreement::FoldSources sources = agreement::sources_of(args);
  auto* const state = static_cast<StepState*>(args.state.raw());
  return [=](Stream& stream) { launch<fold_records>(stream, kOneThread, sources, state); };
}

}  // namespace agreement_kernels

void add_record_kernels(Backend& backend) {
  backend.add_kernel<FillRecord>(cuda_kernel<FillRecord>(agreement_kernels::make_fill), kSet);
  backend.add_kernel<FoldAgreement>(cuda_kernel<FoldAgreement>(agreement_kernels::make_fold), kSet);
}

}  // namespace minim::cuda
