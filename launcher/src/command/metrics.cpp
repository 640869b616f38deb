#include "command/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint_file.h"
#include "minim/runtime/error.h"

namespace minim::command {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw DataError(fmt::format("{}: cannot {}: {}", file.string(), what, std::strerror(errno)));
}

/// The fields of a record's step; a number that is not finite becomes null.
Json record(const char* event, const StepState& state) {
  return {{"event", event}, {"step", state.attempted}, {"applied", state.applied}, {"skipped", state.attempted - state.applied}};
}

/// Calls `visit(line, parsed)` for every whole record, in order, until it returns false or the file ends.
template <class Visitor>
void visit_records(const std::filesystem::path& file, Visitor&& visit) {
  std::ifstream stream(file, std::ios::binary);
  std::string line;
  while (std::getline(stream, line)) {
    if (stream.eof()) return;  // no newline: cut off while it was written
    const Json parsed = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (parsed.is_discarded() || !parsed.is_object() || !parsed.contains("step")) return;
    if (!visit(line, parsed)) return;
  }
}

}  // namespace

Metrics::Metrics(std::filesystem::path file) : path_(std::move(file)), file_(std::fopen(path_.c_str(), "a"), std::fclose) {
  if (!file_) fail(path_, "open the file");
}

void Metrics::truncate(const std::filesystem::path& file, std::int64_t step) {
  if (!std::filesystem::exists(status_of(file))) return;
  std::uintmax_t kept_bytes = 0;
  visit_records(file, [&](const std::string& line, const Json& parsed) {
    if (parsed.value("step", std::int64_t{0}) > step) return false;  // records are in the order of steps
    kept_bytes += line.size() + 1;
    return true;
  });
  std::error_code error;
  std::filesystem::resize_file(file, kept_bytes, error);
  if (error) throw DataError(fmt::format("{}: cannot shorten the file: {}", file.string(), error.message()));
}

bool Metrics::has_evaluation(const std::filesystem::path& file, std::int64_t step) {
  bool found = false;
  visit_records(file, [&](const std::string&, const Json& parsed) {
    found = parsed.value("event", "") == "evaluation" && parsed.value("step", std::int64_t{0}) == step;
    return !found;
  });
  return found;
}

std::vector<Metrics::Skip> Metrics::skips(const std::filesystem::path& file) {
  std::vector<Skip> found;
  visit_records(file, [&](const std::string&, const Json& parsed) {
    if (parsed.value("event", "") == "skip") {
      found.push_back({.step = parsed.value("step", std::int64_t{0}),
                       .tensor = parsed.value("tensor", ""),
                       .used_loss_scale = parsed.value("used_loss_scale", 1.0)});
    }
    return true;
  });
  return found;
}

void Metrics::step(const StepState& state, const Step& step) {
  Json json = record("step", state);
  json["epoch"] = step.epoch;
  json["loss"] = state.loss / state.weight;
  json["accuracy"] = state.correct / state.weight;
  json["loss_scale"] = state.used_loss_scale;
  json["learning_rate"] = state.learning_rate;
  json["gradient_norm"] = state.gradient_norm;
  json["samples_per_second"] = step.samples_per_second;
  json["elapsed_seconds"] = step.elapsed_seconds;
  write(json.dump());
}

void Metrics::evaluation(const StepState& state, std::int64_t epoch, const EvaluationResult& result, double elapsed_seconds) {
  Json json = record("evaluation", state);
  json["epoch"] = epoch;
  json["split"] = "test";
  json["loss"] = result.loss;
  json["accuracy"] = result.accuracy;
  json["loss_scale"] = state.loss_scale;
  json["samples"] = result.weight;
  json["elapsed_seconds"] = elapsed_seconds;
  write(json.dump());
}

void Metrics::skip(const StepState& state, const std::string& tensor) {
  Json json = record("skip", state);
  json["tensor"] = tensor;
  json["non_finite"] = state.non_finite;
  json["probe"] = state.probe_failed != 0;
  json["used_loss_scale"] = state.used_loss_scale;
  json["loss_scale"] = state.loss_scale;
  write(json.dump());
}

void Metrics::growth(const StepState& state) {
  Json json = record("growth", state);
  json["used_loss_scale"] = state.used_loss_scale;
  json["loss_scale"] = state.loss_scale;
  write(json.dump());
}

void Metrics::synchronize() {
  if (fsync(fileno(file_.get())) != 0) fail(path_, "flush the file");
}

void Metrics::write(const std::string& line) {
  std::fputs(line.c_str(), file_.get());
  std::fputc('\n', file_.get());
  if (std::fflush(file_.get()) != 0) fail(path_, "write to the file");
}

}  // namespace minim::command
