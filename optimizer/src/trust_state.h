#pragma once

#include <memory>
#include <vector>

#include "trust_kernels.h"

namespace minim {

/// The small arrays on the device that trust ratios are made of, and the kernel that makes them.
class TrustState {
 public:
  /// `ranks`: those that hold a part of the weights each; 1 where this rank holds them all.
  TrustState(Backend& backend, const UpdateRule& rule, std::vector<TrustParameter> parameters, int rank, int ranks);

  static std::int64_t size_bytes(std::int64_t parameters, int ranks);

  /// Of all ranks, to be gathered.
  TensorView squares() const { return squares_.view(); }
  TensorView own_squares() const { return own_squares_; }  ///< this rank's place in them
  TensorView ratios() const { return ratios_.view(); }

  /// Makes the ratios of what has been gathered.
  void fold(Stream& stream) const { fold_->launch(stream); }

 private:
  Tensor squares_, ratios_;
  TensorView own_squares_;
  std::unique_ptr<KernelCall> fold_;
};

}  // namespace minim
