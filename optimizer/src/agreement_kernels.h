#pragma once

#include "agreement_arithmetic.h"
#include "minim/optimizer/loss_scaler.h"
#include "minim/runtime/backend.h"

namespace minim {

/// Starts this rank's record of a step: everything but what CheckGradients adds.
struct FillRecord {
  ConstTensorView loss;      ///< [1], fp32
  ConstTensorView weight;    ///< [1], fp32
  ConstTensorView correct;   ///< [1], fp32
  ConstTensorView report;    ///< [2], int32: the host's error code, and whether it was asked to stop
  ConstTensorView overflow;  ///< [1], int32: as ApplyUpdate left it; becomes an error unless the host has one
  ConstTensorView state;     ///< StepState as uint8 bytes
  std::uint64_t configuration = 0;
  TensorView record;  ///< AgreementRecord as uint8 bytes
};

/// `fold_agreement` where the state lives.
struct FoldAgreement {
  AgreementConfig config;
  ConstTensorView records;         ///< AgreementRecord of each rank as uint8 bytes
  ConstTensorView learning_rates;  ///< [steps], fp32
  TensorView state;                ///< StepState as uint8 bytes
};

namespace agreement {
RecordSources sources_of(const FillRecord& args);
FoldSources sources_of(const FoldAgreement& args);
}  // namespace agreement

/// Adds the kernels of this header to a backend where they are missing.
void add_agreement_kernels(Backend& backend);

}  // namespace minim
