#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "minim/launcher/at_work.h"
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
/// Format: 8 bytes header size, JSON header, data (https://huggingface.co/docs/safetensors). Throws DataError that names the file
/// and gives the system's reason on any I/O failure, InvalidArgument for names given twice and for other tensors than declared.
class SafetensorsWriter {
 public:
  struct Declaration {
    std::string name;
    DType dtype;
    Shape shape;
  };
  SafetensorsWriter(std::filesystem::path file, std::vector<Declaration> tensors,
                    const std::map<std::string, std::string>& metadata, AtWork at_work = {});
  ~SafetensorsWriter();
  /// The next tensor, in the order of declaration.
  void write(ConstTensorView data);
  /// Flushes to disk (fsync). Returns the file's size and CRC-32 of its bytes.
  std::pair<std::int64_t, std::uint32_t> close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads the header, checking everything that it claims against the file's size: the tensors fill the data exactly, without gaps
/// or overlaps. Throws DataError with file and offset; allocates no more than the file's size warrants.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(std::filesystem::path file, AtWork at_work = {});
  /// In the order of their data.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const SafetensorsEntry* find(const std::string& name) const;
  /// Copies elements [begin, begin + out.elements()) of a tensor into `out`, which has the entry's type.
  void read(const SafetensorsEntry& entry, TensorView out, std::int64_t begin = 0) const;

 private:
  std::filesystem::path file_;
  AtWork at_work_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace minim
