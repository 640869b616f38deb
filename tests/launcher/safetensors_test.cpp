#include "minim/launcher/safetensors.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "launcher/files.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::read_file;
using testing::ScratchDirectory;
using testing::write_file;

/// A file with that header text and so many bytes of data.
std::string bytes_of(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes + header + std::string(data_bytes, 'x');
}

std::string refusal(const fs::path& file) {
  try {
    const SafetensorsReader reader(file);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Safetensors, ReadsBackWhatWasWritten) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "a.safetensors";
  std::vector<float> floats(2 * 3 * 5);
  std::iota(floats.begin(), floats.end(), -7.25F);
  std::vector<Half> halves = {to_half(1), to_half(-2.5F), to_half(65504)};
  std::vector<std::int64_t> integers = {-1, INT64_MAX};
  SafetensorsWriter writer(file,
                           {{"conv.weight", DType::fp32, Shape{2, 3, 5}},
                            {"half", DType::fp16, Shape{3}},
                            {"nothing", DType::bf16, Shape{4, 0}},
                            {"ids", DType::int64, Shape{2}},
                            {"scalar", DType::fp32, Shape{}}},
                           {{"writer", "a \"test\" \xC3\xA9"}});
  float scalar = 3;
  writer.write(TensorView(floats.data(), DType::fp32, Shape{2, 3, 5}));
  writer.write(TensorView(halves.data(), DType::fp16, Shape{3}));
  writer.write(TensorView(halves.data(), DType::bf16, Shape{0}));
  writer.write(TensorView(integers.data(), DType::int64, Shape{2}));
  writer.write(TensorView(&scalar, DType::fp32, Shape{}));
  const auto [size, crc] = writer.close();

  const std::string bytes = read_file(file);
  EXPECT_EQ(size, static_cast<std::int64_t>(bytes.size()));
  EXPECT_EQ(crc, crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<unsigned>(bytes.size())));

  const SafetensorsReader reader(file);
  ASSERT_EQ(reader.entries().size(), 5U);
  EXPECT_EQ(reader.metadata().at("writer"), "a \"test\" \xC3\xA9");
  EXPECT_EQ(reader.find("conv"), nullptr);
  const auto* conv = reader.find("conv.weight");
  ASSERT_NE(conv, nullptr);
  EXPECT_EQ(conv->dtype, DType::fp32);
  EXPECT_EQ(conv->shape, (Shape{2, 3, 5}));
  EXPECT_EQ(conv->offset_bytes % 8, 0);
  EXPECT_EQ(reader.find("scalar")->shape, Shape{});
  EXPECT_EQ(reader.find("nothing")->shape, (Shape{4, 0}));

  std::vector<float> found(floats.size());
  reader.read(*conv, TensorView(found.data(), DType::fp32, Shape{30}));
  EXPECT_EQ(found, floats);
  std::vector<std::int64_t> found_integers(2);
  reader.read(*reader.find("ids"), TensorView(found_integers.data(), DType::int64, Shape{2}));
  EXPECT_EQ(found_integers, integers);
  std::vector<float> part(4);
  reader.read(*conv, TensorView(part.data(), DType::fp32, Shape{4}), 11);
  EXPECT_EQ(part, std::vector<float>(floats.begin() + 11, floats.begin() + 15));
  EXPECT_THROW(reader.read(*conv, TensorView(part.data(), DType::fp32, Shape{4}), 27), InvalidArgument);
  EXPECT_THROW(reader.read(*conv, TensorView(part.data(), DType::int32, Shape{4})), InvalidArgument);
}

TEST(Safetensors, WriterHoldsItsCallerToTheDeclaration) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "a.safetensors";
  float values[3] = {};
  using Declarations = std::vector<SafetensorsWriter::Declaration>;
  EXPECT_THROW(SafetensorsWriter(file, Declarations{{"a", DType::fp32, Shape{1}}, {"a", DType::fp32, Shape{1}}}, {}),
               InvalidArgument);
  EXPECT_THROW(SafetensorsWriter(file, Declarations{{"__metadata__", DType::fp32, Shape{1}}}, {}), InvalidArgument);
  SafetensorsWriter writer(file, {{"a", DType::fp32, Shape{3}}}, {});
  EXPECT_THROW(writer.write(TensorView(values, DType::fp32, Shape{2})), InvalidArgument);
  EXPECT_THROW(writer.write(TensorView(values, DType::int32, Shape{3})), InvalidArgument);
  EXPECT_THROW(writer.close(), InvalidArgument);
  writer.write(TensorView(values, DType::fp32, Shape{3}));
  EXPECT_THROW(writer.write(TensorView(values, DType::fp32, Shape{3})), InvalidArgument);
  writer.close();
}

TEST(Safetensors, FailuresToWriteNameFileAndReason) {
  const auto text_of = [](const fs::path& file) -> std::string {
    try {
      std::vector<float> values(1 << 16);
      SafetensorsWriter writer(file, {{"a", DType::fp32, Shape{1 << 16}}}, {});
      writer.write(TensorView(values.data(), DType::fp32, Shape{1 << 16}));
      writer.close();
    } catch (const DataError& error) {
      return error.what();
    }
    return "written";
  };
  EXPECT_EQ(text_of("/dev/full"), "cannot write /dev/full: No space left on device");
  EXPECT_EQ(text_of("/nonexistent/a"), "cannot create /nonexistent/a: No such file or directory");
}

struct Hostile {
  const char* name;
  std::string bytes;
  std::string sentence;
};

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

std::vector<Hostile> hostile_files() {
  const std::string good = tensor("\"F32\"", "[2]", "[0,8]");
  std::string deep = "{\"a\":";
  for (int i = 0; i < 10000; ++i) deep += '[';
  std::string huge_size = bytes_of(good, 8);
  std::memset(huge_size.data(), 0xFF, 8);
  std::string longer = bytes_of(good, 8);
  longer[1] = 1;
  return {
      {"empty", "", "offset 0: the file has 0 bytes"},
      {"seven bytes", std::string(7, '\0'), "offset 0: the file has 7 bytes"},
      {"no header", std::string(8, '\0'), "offset"},
      {"size of 2^64 - 1", huge_size, "claims 18446744073709551615 bytes"},
      {"size beyond the end", longer, "offset 0: the header claims"},
      {"not JSON", bytes_of("{\"a\":!}", 0), "offset 14: the header is not valid JSON"},
      {"cut JSON", bytes_of("{\"a\":{", 0), "not valid JSON"},
      {"text behind", bytes_of(good + "{}", 8), "not valid JSON"},
      {"not UTF-8", bytes_of("{\"\xFF\":{}}", 0), "not valid JSON"},
      {"a list", bytes_of("[]", 0), "not a JSON object"},
      {"deep", bytes_of(deep, 0), "nested deeper"},
      {"tensor twice", bytes_of("{\"a\":{},\"a\":{}}", 0), "\"a\" is there twice"},
      {"key twice", bytes_of(R"({"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}})", 8),
       "\"dtype\" is there twice"},
      {"number for a tensor", bytes_of("{\"a\":1}", 0), "tensor \"a\": wanted an object"},
      {"no offsets", bytes_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "tensor \"a\": wanted an object"},
      {"an extra member", bytes_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"b":1}})", 8), "wanted an object"},
      {"number for a type", bytes_of(tensor("32", "[2]", "[0,8]"), 8), "dtype is not a string"},
      {"unknown type", bytes_of(tensor("\"F4\"", "[2]", "[0,8]"), 8), "element type \"F4\""},
      {"number for a shape", bytes_of(tensor("\"F32\"", "2", "[0,8]"), 8), "shape is not a list"},
      {"negative dimension", bytes_of(tensor("\"F32\"", "[-2]", "[0,8]"), 8), "shape holds"},
      {"fractional dimension", bytes_of(tensor("\"F32\"", "[2.0]", "[0,8]"), 8), "shape holds"},
      {"dimension of 2^63", bytes_of(tensor("\"F32\"", "[9223372036854775808]", "[0,8]"), 8), "shape holds"},
      {"overflowing shape", bytes_of(tensor("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8), "overflows 64 bits"},
      {"overflow before a zero", bytes_of(tensor("\"F32\"", "[4294967296,4294967296,0]", "[0,0]"), 0), "overflows 64 bits"},
      {"seven dimensions", bytes_of(tensor("\"F32\"", "[1,1,1,1,1,1,2]", "[0,8]"), 8), "7 dimensions"},
      {"one offset", bytes_of(tensor("\"F32\"", "[2]", "[8]"), 8), "not a begin and an end"},
      {"offsets in reverse", bytes_of(tensor("\"F32\"", "[2]", "[8,0]"), 8), "not a begin and an end"},
      {"negative offset", bytes_of(tensor("\"F32\"", "[2]", "[-8,0]"), 8), "data_offsets holds"},
      {"offset beyond the end", bytes_of(tensor("\"F32\"", "[2]", "[8,16]"), 8), "ends at 16"},
      {"huge offset", bytes_of(tensor("\"F32\"", "[2]", "[9223372036854775800,9223372036854775807]"), 8),
       "ends at 9223372036854775807"},
      {"too few bytes", bytes_of(tensor("\"F32\"", "[3]", "[0,8]"), 8), "has 8 bytes, its shape [3] wants 12"},
      {"a gap before", bytes_of(tensor("\"F32\"", "[2]", "[4,12]"), 12), "leaving a gap"},
      {"bytes behind", bytes_of(good, 9), "the last tensor ends here"},
      {"a tensor cut off", bytes_of(good, 7), "ends at 8, but the file has 7"},
      {"overlap",
       bytes_of(R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]}})",
                8),
       "tensor \"b\" starts here, overlapping"},
      {"a gap between",
       bytes_of(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
                8),
       "tensor \"b\" starts here, leaving a gap"},
      {"metadata of numbers", bytes_of(R"({"__metadata__":{"a":1}})", 0), "metadata \"a\" is not a string"},
      {"metadata of text", bytes_of(R"({"__metadata__":"a"})", 0), "metadata is not a JSON object"},
  };
}

TEST(Safetensors, HostileFilesAreRefusedByNameAndReason) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "hostile.safetensors";
  write_file(file, bytes_of(tensor("\"F32\"", "[2]", "[0,8]"), 8));
  EXPECT_EQ(refusal(file), "accepted");
  for (const Hostile& hostile : hostile_files()) {
    write_file(file, hostile.bytes);
    const std::string text = refusal(file);
    EXPECT_NE(text.find(file.string()), std::string::npos) << hostile.name << ": " << text;
    EXPECT_NE(text.find(hostile.sentence), std::string::npos) << hostile.name << ": " << text;
  }
}

TEST(Safetensors, EveryCutIsRefused) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "cut.safetensors";
  const std::string whole = bytes_of(tensor("\"F32\"", "[2]", "[0,8]"), 8);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_file(file, whole.substr(0, size));
    EXPECT_NE(refusal(file).find(file.string()), std::string::npos) << size << " bytes";
  }
}

TEST(Safetensors, WhatIsNoFileIsRefused) {
  const ScratchDirectory scratch;
  EXPECT_NE(refusal(scratch.path() / "missing").find("No such file"), std::string::npos);
  EXPECT_NE(refusal(scratch.path()).find("not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace minim
