#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "minim/comm/communicator.h"
#include "minim/runtime/parameter.h"

namespace minim {

/// A parameter's place in its bucket.
struct BucketEntry {
  Parameter* parameter = nullptr;
  std::int64_t offset = 0;  ///< in elements, a multiple of 64
  std::int64_t elements = 0;
};

/// A flat array of weights and one of gradients of the same type, reduced and gathered as one message.
/// Each parameter starts on 64 elements, the length is a multiple of 64 W, padding stays zero; rank r owns slice r.
class Bucket {
 public:
  std::string name;  ///< "bucket 3"
  DType dtype = DType::fp32;
  std::vector<BucketEntry> entries;
  std::int64_t elements = 0;

  TensorView weights() const { return weights_.view(); }
  TensorView gradients() const { return gradients_.view(); }
  std::int64_t slice_elements(int world_size) const { return elements / world_size; }
  /// Rank r's slice of a flat array of this bucket's length.
  TensorView slice(TensorView flat, int rank, int world_size) const;

 private:
  friend class BucketSet;
  Tensor weights_;
  Tensor gradients_;
};

struct BucketOptions {
  std::int64_t bucket_bytes = 25 << 20;  ///< a bucket is closed when it has at least so many
};

/// How parameters fall into buckets: in their order, one type a bucket. The same on every rank; depends on nothing but its
/// arguments.
std::vector<Bucket> plan_buckets(std::span<Parameter* const> parameters, DType compute_dtype, int world_size,
                                 BucketOptions options);

/// The buckets of a set of parameters, in memory.
class BucketSet {
 public:
  /// Allocates (a collective call) and places every parameter's `weight` and `gradient`. All elements start at zero.
  BucketSet(Backend& backend, Communicator& communicator, std::span<Parameter* const> parameters, DType compute_dtype,
            BucketOptions options = {});
  /// The parameters still exist; they have no place in memory afterwards.
  ~BucketSet();
  BucketSet(const BucketSet&) = delete;
  BucketSet& operator=(const BucketSet&) = delete;

  std::span<Bucket> buckets() { return buckets_; }
  std::span<const Bucket> buckets() const { return buckets_; }
  /// The bucket that a parameter is in; -1 when it is in none.
  int bucket_of(const Parameter& parameter) const;

 private:
  std::vector<Bucket> buckets_;
};

}  // namespace minim
