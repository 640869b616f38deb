#include "kernel_work.h"

#include <string>

namespace doubles {
namespace {

class InlineStream final : public minim::Stream {
 public:
  void enqueue(std::function<void()> work) override { work(); }
  void enqueue_borrowed(const std::function<void()>* work) override { (*work)(); }
  void copy(TensorView to, ConstTensorView from) override {
    std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(to.size_bytes()));
  }
  void wait(const minim::Event& event) override { event.wait(); }
  minim::Event record() override { return {}; }
  void synchronize() override {}
};

}  // namespace

// Neither is ever destroyed: streams of the double may be at work when the program ends.
minim::Backend& cpu() {
  static minim::Backend& backend = *minim::make_cpu_backend(1).release();
  return backend;
}

minim::Stream& inline_stream() {
  static minim::Stream& stream = *new InlineStream;
  return stream;
}

void check_on_device(const char* call, const ConstTensorView& tensor) {
  if (tensor.size_bytes() == 0) return;
  const auto* last = static_cast<const char*>(tensor.raw()) + tensor.size_bytes() - 1;
  if (double_is_device(tensor.raw()) && double_is_device(last)) return;
  const std::string message =
      std::string(call) + " is given a tensor " + tensor.shape().to_string() + " that is not in memory of the device";
  double_refuse(message.c_str());
}

void enqueue(cudaStream_t stream, const char* name, std::function<void()> work) {
  double_enqueue_owned(
      stream, name, [](void* context) { (*static_cast<std::function<void()>*>(context))(); },
      [](void* context) { delete static_cast<std::function<void()>*>(context); }, new std::function<void()>(std::move(work)));
}

void spoil(void* workspace, std::size_t size_bytes) {
  if (size_bytes > 0) std::memset(double_alias(workspace), 0xFF, size_bytes);
}

}  // namespace doubles
