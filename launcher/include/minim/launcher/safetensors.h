#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "minim/runtime/tensor.h"

namespace minim {

/// One tensor in a safetensors file: little-endian, dense, row-major.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::fp32;
  Shape shape;
  std::int64_t offset_bytes = 0;  ///< from the start of the file
  std::int64_t size_bytes = 0;
};

/// Writes tensors one after another, so that none but the current one has to be in memory. The file is complete after `close`.
/// Format: 8 bytes header size, JSON header, data. Throws DataError that names the file on any I/O failure.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name;
    DType dtype;
    Shape shape;
  };
  SafetensorsWriter(std::filesystem::path file, const std::vector<Declaration>& tensors, const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  /// The next tensor, in the order of declaration.
  void write(ConstTensorView data);
  /// Flushes to disk (fsync). Returns the file's size and CRC-32 of its bytes.
  std::pair<std::int64_t, std::uint32_t> close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads the header, checking everything that it claims against the file's size. Throws DataError with file and offset.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(std::filesystem::path file);
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* find(const std::string& name) const;
  /// Copies a tensor's bytes into `out`, of the entry's type and element count.
  void read(const SafetensorsEntry& entry, TensorView out) const;

 private:
  std::filesystem::path file_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace minim
