#include "minim/comm/communicator.h"

#include <fmt/format.h>

#include "collective.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

using detail::CollectiveKind;
using detail::Request;

std::string title(const Request& request) {
  detail::Signature signature;
  signature.kind = request.kind;
  signature.set_label(request.options.label);
  return signature.title();
}

void check_present(const Request& request) {
  for (const ConstTensorView& tensor : {request.input, ConstTensorView(request.output)}) {
    if (!tensor.present()) throw InvalidArgument(title(request) + ": a tensor is missing");
    if (tensor.elements() > 0 && tensor.raw() == nullptr) throw InvalidArgument(title(request) + ": a tensor has no memory yet");
  }
}

void check_reducible(const Request& request) {
  const DType dtype = request.input.dtype();
  if (dtype != DType::fp32 && dtype != DType::fp16 && dtype != DType::bf16) {
    throw InvalidArgument(fmt::format("{}: elements are {}, sums are of fp32, fp16 or bf16", title(request), name(dtype)));
  }
  constexpr int kLargestExponent = 126;  // 2^e and 2^-e are normal FP32 numbers
  if (std::abs(request.scale_exponent) > kLargestExponent) {
    throw InvalidArgument(fmt::format("{}: scale exponent is {}, at most {} in magnitude is possible", title(request),
                                      request.scale_exponent, kLargestExponent));
  }
}

void check_divisible(const Request& request, int size) {
  if (request.input.elements() % size != 0) {
    throw InvalidArgument(
        fmt::format("{}: {} elements do not divide into {} equal parts", title(request), request.input.elements(), size));
  }
}

void check_apart(const Request& request) {
  if (detail::overlap(request.input, request.output)) {
    throw InvalidArgument(title(request) + ": input and output overlap");
  }
}

Request in_place(CollectiveKind kind, const TensorView& data, CollectiveOptions&& options) {
  return {.kind = kind, .input = data, .output = data, .options = std::move(options)};
}

}  // namespace

bool Work::done() const { return !collective_ || collective_->done(); }

void Work::wait() const {
  if (!collective_) return;
  if (!collective_->done()) communicator_->wait_for(*collective_);
  collective_->rethrow_failure();
}

Event Work::event() const { return collective_ ? collective_->event() : Event(); }

void Work::precede(Stream& stream) const {
  if (!collective_) return;
  traced(stream, {.name = collective_->request().options.label, .category = "wait"},
         [&] { communicator_->order(*collective_, stream); });
}

void Communicator::order(detail::Collective& collective, Stream& stream) { stream.wait(collective.event()); }

Work Communicator::submit_traced(Request request) {
  if (trace_ != nullptr) {
    request.times = trace_->add({.name = request.options.label,
                                 .category = "communication",
                                 .type = detail::name(request.kind),
                                 .bytes = request.input.size_bytes()});
  }
  return submit(std::move(request));
}

Work Communicator::all_reduce(TensorView data, ReduceOptions reduce, CollectiveOptions options) {
  Request request = in_place(CollectiveKind::all_reduce, data, std::move(options));
  request.scale_exponent = reduce.scale_exponent;
  check_present(request);
  check_reducible(request);
  return submit_traced(std::move(request));
}

Work Communicator::reduce_scatter(TensorView data, ReduceOptions reduce, CollectiveOptions options) {
  Request request = in_place(CollectiveKind::reduce_scatter, data, std::move(options));
  request.scale_exponent = reduce.scale_exponent;
  check_present(request);
  check_reducible(request);
  check_divisible(request, size());
  return submit_traced(std::move(request));
}

Work Communicator::reduce_scatter_fp32(ConstTensorView data, TensorView sums, CollectiveOptions options) {
  Request request = {.kind = CollectiveKind::reduce_scatter_fp32, .input = data, .output = sums, .options = std::move(options)};
  check_present(request);
  check_reducible(request);
  check_divisible(request, size());
  check_apart(request);
  if (sums.dtype() != DType::fp32 || sums.elements() != data.elements() / size()) {
    throw InvalidArgument(fmt::format("{}: sums are {} {}, wanted {} fp32", title(request), sums.elements(),
                                      minim::name(sums.dtype()), data.elements() / size()));
  }
  return submit_traced(std::move(request));
}

Work Communicator::all_gather(TensorView data, CollectiveOptions options) {
  Request request = in_place(CollectiveKind::all_gather, data, std::move(options));
  check_present(request);
  check_divisible(request, size());
  return submit_traced(std::move(request));
}

Work Communicator::all_to_all(ConstTensorView send, TensorView receive, CollectiveOptions options) {
  Request request = {.kind = CollectiveKind::all_to_all, .input = send, .output = receive, .options = std::move(options)};
  check_present(request);
  check_divisible(request, size());
  check_apart(request);
  if (send.dtype() != receive.dtype() || send.elements() != receive.elements()) {
    throw InvalidArgument(fmt::format("{}: sends {} {}, receives {} {}", title(request), send.elements(),
                                      minim::name(send.dtype()), receive.elements(), minim::name(receive.dtype())));
  }
  return submit_traced(std::move(request));
}

Work Communicator::broadcast(TensorView data, int root, CollectiveOptions options) {
  Request request = in_place(CollectiveKind::broadcast, data, std::move(options));
  request.root = root;
  check_present(request);
  if (root < 0 || root >= size()) throw InvalidArgument(fmt::format("{}: root is rank {} of {}", title(request), root, size()));
  return submit_traced(std::move(request));
}

Work Communicator::barrier(CollectiveOptions options) {
  return submit_traced({.kind = CollectiveKind::barrier, .options = std::move(options)});
}

}  // namespace minim
