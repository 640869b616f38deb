#include "command/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "minim/runtime/error.h"

namespace minim::command {
namespace {

using Json = nlohmann::ordered_json;

/// The counts of a kind of mantissa from the smallest exponent to the largest that the tensor has.
Json counts_of(const ExponentCounts& counts, Mantissa mantissa) {
  Json list = Json::array();
  for (int e = counts.lowest(); e <= counts.highest(); ++e) {
    const bool is_zero = mantissa == Mantissa::power_of_two && e == ExponentCounts::kLowest;
    list.push_back(is_zero ? 0 : counts.at(mantissa, e));
  }
  return list;
}

void set_counts(ExponentCounts& counts, Mantissa mantissa, int first, const Json& list) {
  if (list.size() > 0 &&
      (first < ExponentCounts::kLowest || first + static_cast<int>(list.size()) - 1 > ExponentCounts::kHighest)) {
    throw InvalidArgument("exponents beyond those of FP32");
  }
  for (const Json& count : list) {
    const int exponent = first++;
    if (mantissa == Mantissa::power_of_two && exponent == ExponentCounts::kLowest) continue;
    counts.at(mantissa, exponent) = count.get<std::int64_t>();
  }
}

Json to_record(const InspectedTensor& tensor) {
  return {{"layer", tensor.layer},
          {"type", tensor.type},
          {"tensor", tensor.name},
          {"kind", name(tensor.kind)},
          {"zeros", tensor.counts.zeros()},
          {"infinities", tensor.counts.infinities()},
          {"nans", tensor.counts.nans()},
          {"first_exponent", tensor.counts.is_empty() ? 0 : tensor.counts.lowest()},
          {"between", counts_of(tensor.counts, Mantissa::between)},
          {"powers_of_two", counts_of(tensor.counts, Mantissa::power_of_two)},
          {"rounding_up", counts_of(tensor.counts, Mantissa::rounds_up)}};
}

TensorKind parse_kind(const std::string& text) {
  const auto* const found = std::ranges::find(kTensorKinds, text);
  if (found == kTensorKinds.end()) throw InvalidArgument(fmt::format("an unknown kind of tensor, \"{}\"", text));
  return static_cast<TensorKind>(found - kTensorKinds.begin());
}

InspectedTensor parse_tensor(const Json& json) {
  InspectedTensor tensor{.layer = json.at("layer"),
                         .type = json.at("type"),
                         .name = json.at("tensor"),
                         .kind = parse_kind(json.at("kind")),
                         .counts = {}};
  tensor.counts.zeros() = json.at("zeros");
  tensor.counts.infinities() = json.at("infinities");
  tensor.counts.nans() = json.at("nans");
  const int first = json.at("first_exponent");
  set_counts(tensor.counts, Mantissa::between, first, json.at("between"));
  set_counts(tensor.counts, Mantissa::power_of_two, first, json.at("powers_of_two"));
  set_counts(tensor.counts, Mantissa::rounds_up, first, json.at("rounding_up"));
  return tensor;
}

/// What is not finite is null in JSON.
double parse_number(const Json& json) { return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>(); }

Inspection parse(const Json& json) {
  Inspection inspection{.step = json.at("step"),
                        .applied = json.at("applied"),
                        .precision = json.at("precision"),
                        .loss_scale = json.at("loss_scale"),
                        .tensors = {},
                        .updates = {}};
  if (!(inspection.loss_scale > 0 && std::isfinite(inspection.loss_scale))) throw InvalidArgument("a loss scale that is none");
  for (const Json& tensor : json.at("tensors")) inspection.tensors.push_back(parse_tensor(tensor));
  for (const Json& update : json.at("updates")) {
    inspection.updates.push_back({.parameter = update.at("parameter"),
                                  .update_norm = parse_number(update.at("update_norm")),
                                  .weight_norm = parse_number(update.at("weight_norm"))});
  }
  return inspection;
}

}  // namespace

int Inspection::log2_scale() const { return std::ilogb(loss_scale); }

void append_inspection(const std::filesystem::path& file, const Inspection& inspection) {
  Json json = {{"step", inspection.step},           {"applied", inspection.applied},
               {"precision", inspection.precision}, {"loss_scale", inspection.loss_scale},
               {"tensors", Json::array()},          {"updates", Json::array()}};
  for (const InspectedTensor& tensor : inspection.tensors) json["tensors"].push_back(to_record(tensor));
  for (const WeightUpdate& update : inspection.updates) {
    json["updates"].push_back(
        {{"parameter", update.parameter}, {"update_norm", update.update_norm}, {"weight_norm", update.weight_norm}});
  }
  std::ofstream stream(file, std::ios::binary | std::ios::app);
  stream << json.dump() << '\n' << std::flush;
  if (!stream) throw DataError(fmt::format("{}: cannot write to the file: {}", file.string(), std::strerror(errno)));
}

std::vector<Inspection> read_inspections(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw DataError(fmt::format("{}: cannot open the file", file.string()));
  std::vector<Inspection> inspections;
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    if (stream.eof()) break;  // no newline: cut off while it was written
    try {
      inspections.push_back(parse(Json::parse(line)));
    } catch (const Json::exception& error) {
      throw DataError(fmt::format("{}:{}: no record of an inspection: {}", file.string(), number, error.what()));
    } catch (const InvalidArgument& error) {
      throw DataError(fmt::format("{}:{}: no record of an inspection: {}", file.string(), number, error.what()));
    }
  }
  return inspections;
}

}  // namespace minim::command
