#pragma once

#include <cudnn.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace cudnn_double {

struct Record;
using Shared = std::shared_ptr<const Record>;

/// What a program has set one attribute of a descriptor to.
struct Attribute {
  std::vector<char> bytes;
  std::vector<Shared> descriptors;  ///< as they were when they were set
};

/// What a program has told cuDNN of a descriptor.
struct Record {
  cudnnBackendDescriptorType_t type;
  std::map<cudnnBackendAttributeName_t, Attribute> attributes;
  Shared graph;  ///< of heuristics, engine configurations and plans: what they are for
  std::int64_t proposal = 0;  ///< of engine configurations and plans: the number among what the heuristics have listed

  /// Refuses the program when it has not set the attribute.
  const Attribute& at(cudnnBackendAttributeName_t name) const;

  template <class T>
  std::vector<T> list(cudnnBackendAttributeName_t name) const {
    const std::vector<char>& bytes = at(name).bytes;
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  /// The first of the values.
  template <class T>
  T value(cudnnBackendAttributeName_t name) const {
    T first{};
    std::memcpy(&first, at(name).bytes.data(), sizeof first);
    return first;
  }
  const Record& descriptor(cudnnBackendAttributeName_t name) const { return *at(name).descriptors.at(0); }
};

// What is noted of the library's calls. Thread-safe.
void note_created(cudnnBackendDescriptor_t descriptor, cudnnBackendDescriptorType_t type);
void note_destroyed(cudnnBackendDescriptor_t descriptor);
void note_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
              std::int64_t count, const void* values);
/// `proposals` are engine configurations that the heuristics have returned.
void note_proposals(cudnnBackendDescriptor_t heuristics, std::int64_t count, const cudnnBackendDescriptor_t* proposals);

/// A copy that does not change. Refuses a descriptor that cuDNN has not made.
Shared record_of(cudnnBackendDescriptor_t descriptor);

}  // namespace cudnn_double
