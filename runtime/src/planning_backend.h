#pragma once

#include "minim/runtime/backend.h"

namespace minim {

/// Of a device that need not be here: plans are compiled for it, and nothing runs on it.
class PlanningBackend final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  bool host_accessible() const override { return false; }
  Buffer allocate(std::int64_t /*size_bytes*/, MemoryKind /*kind*/) override { refuse(); }
  std::unique_ptr<Stream> make_stream(std::string /*name*/) override { refuse(); }
  void copy(TensorView /*to*/, ConstTensorView /*from*/) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { throw InvalidArgument("a backend for planning has no device"); }
};

}  // namespace minim
