#pragma once

#include <span>
#include <string>

#include "command/inspection.h"
#include "command/metrics.h"

namespace minim::command {

/// What of a run is reported: at least one inspection, the last of them in detail.
struct InspectionReport {
  std::string run;
  std::vector<Inspection> inspections;
  std::vector<Metrics::Skip> skips;
};

/// The advice, a table of the last inspection with a row for each tensor, and the skipped steps.
std::string to_text(const InspectionReport& report);
/// A row for each tensor of each inspection.
std::string to_csv(const InspectionReport& report);
/// One page with the histograms of the last inspection, which needs nothing from elsewhere.
std::string to_html(const InspectionReport& report);

/// ||update|| / ||weight|| of the parameter; negative where it is not known.
double update_ratio(const Inspection& inspection, const std::string& parameter);
/// "step 1 at S = 65536: gradient of ..."
std::string describe_skip(const Metrics::Skip& skip, std::span<const Inspection> inspections);

}  // namespace minim::command
