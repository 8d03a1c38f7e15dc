// From a slice of a published model to the whole of it: a layer of each kind costs what it costs in
// the slice, and the whole model is so many of each, the output head once. Every line of the sum is
// kept, to be read and to be doubted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "measure/bench.h"
#include "model/config.h"

namespace fathom::measure {

struct ProjectionLine {
  std::string what;           // "CSA layer", "output head", ...
  int64_t count = 0;          // in the whole model
  double scale = 1;           // of one: the head's rows against those of the slice
  double seconds_of_one = 0;  // measured in the slice, a step
  double bytes_of_one = 0;
  double operations_of_one = 0;
  double seconds() const { return static_cast<double>(count) * scale * seconds_of_one; }
  double bytes() const { return static_cast<double>(count) * scale * bytes_of_one; }
};

struct Projection {
  std::string model;  // "DeepSeek-V4-Flash"
  int64_t context = 0;
  std::vector<ProjectionLine> lines;
  double step_seconds = 0;  // sum of the lines
  double bytes = 0;
  double tokens_s() const { return step_seconds > 0 ? 1 / step_seconds : 0; }
};

// The published model that `config` has the layers of, or nothing.
struct FullModel {
  std::string name;
  model::Config config;
};
std::optional<FullModel> FullModelOf(const model::Config& config);

// Of a point of batch 1 (in larger batches the experts that are shared depend on how many there
// are). Nothing when the slice lacks a kind of layer that the whole model has.
std::optional<Projection> Project(const FullModel& full, const model::Config& slice,
                                  const DecodePoint& point);

}  // namespace fathom::measure
