#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "minim/runtime/dtype.h"

/// What writer and reader of safetensors files share.
namespace minim::safetensors {

struct TypeName {
  DType dtype;
  std::string_view name;
};
inline constexpr std::array<TypeName, 7> kTypeNames = {{{DType::fp32, "F32"},
                                                        {DType::fp16, "F16"},
                                                        {DType::bf16, "BF16"},
                                                        {DType::fp64, "F64"},
                                                        {DType::int32, "I32"},
                                                        {DType::int64, "I64"},
                                                        {DType::uint8, "U8"}}};

inline constexpr const char* kMetadataKey = "__metadata__";
inline constexpr std::int64_t kSizeBytes = 8;                   ///< of the header's size, at the start of the file
inline constexpr std::int64_t kLargestHeaderBytes = 100000000;  ///< the reference implementation's limit

}  // namespace minim::safetensors
