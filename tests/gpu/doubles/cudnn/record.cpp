#include "cudnn/record.h"

#include <mutex>
#include <string>

#include "double.h"

namespace cudnn_double {
namespace {

struct Records {
  std::mutex mutex;
  std::map<cudnnBackendDescriptor_t, Record> of;
};

Records& records() {
  static Records& all = *new Records;  // outlives every thread
  return all;
}

/// Bytes of a value; 0 for types that no attribute of interest has.
std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR: return 8;
    case CUDNN_TYPE_INT32:
    case CUDNN_TYPE_FLOAT:
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_POINTWISE_MODE: return 4;
    case CUDNN_TYPE_BOOLEAN: return 1;
    default: return 0;
  }
}

/// With the lock held.
Record& find(cudnnBackendDescriptor_t descriptor) {
  const auto found = records().of.find(descriptor);
  if (found == records().of.end()) double_refuse("cuDNN is given a descriptor that it has not made, or has destroyed");
  return found->second;
}

}  // namespace

const Attribute& Record::at(cudnnBackendAttributeName_t name) const {
  const auto found = attributes.find(name);
  if (found != attributes.end()) return found->second;
  const std::string message = "cuDNN is given a descriptor of type " + std::to_string(type) + " without its attribute " +
                              std::to_string(name) + ", which this double needs";
  double_refuse(message.c_str());
}

void note_created(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type) {
  const std::scoped_lock lock(records().mutex);
  records().of[descriptor] = {.type = type};
}

void note_destroyed(cudnnBackendDescriptor_t descriptor) {
  const std::scoped_lock lock(records().mutex);
  records().of.erase(descriptor);
}

void note_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
              std::int64_t count, const void* values) {
  const std::scoped_lock lock(records().mutex);
  Record& record = find(descriptor);
  Attribute attribute;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto* others = static_cast<const cudnnBackendDescriptor_t*>(values);
    for (std::int64_t i = 0; i < count; ++i) attribute.descriptors.push_back(std::make_shared<const Record>(find(others[i])));
  } else {
    const auto* bytes = static_cast<const char*>(values);
    attribute.bytes.assign(bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
  }
  if (name == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH) record.graph = attribute.descriptors.at(0);
  if (name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) {
    record.graph = attribute.descriptors.at(0)->graph;
    record.proposal = attribute.descriptors.at(0)->proposal;
  }
  record.attributes[name] = std::move(attribute);
}

void note_proposals(cudnnBackendDescriptor_t heuristics, std::int64_t count, const cudnnBackendDescriptor_t* proposals) {
  const std::scoped_lock lock(records().mutex);
  const Shared graph = find(heuristics).graph;
  for (std::int64_t i = 0; i < count; ++i) {
    Record& proposal = find(proposals[i]);
    proposal.graph = graph;
    proposal.proposal = i;
  }
}

Shared record_of(cudnnBackendDescriptor_t descriptor) {
  const std::scoped_lock lock(records().mutex);
  return std::make_shared<const Record>(find(descriptor));
}

}  // namespace cudnn_double
