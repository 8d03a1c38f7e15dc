#include "engine/memory_budget.h"

#include <algorithm>
#include <fstream>
#include <optional>

#include "base/topology.h"
#include "model/sizes.h"

namespace fathom::engine {
namespace {

// The number after `name` in a file of lines "name number ...".
std::optional<int64_t> Field(const std::string& file, const std::string& name) {
  std::ifstream lines(file);
  std::string word;
  int64_t value = 0;
  while (lines >> word) {
    if (word == name && lines >> value) return value;
    lines.clear();
    lines.ignore(1 << 12, '\n');
  }
  return std::nullopt;
}

// The number a file consists of; none for "max".
std::optional<int64_t> Number(const std::string& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

}  // namespace

int64_t AvailableBytes(const std::string& proc, const std::string& group) {
  int64_t available = MemoryBytes() / 2;
  if (const auto kilobytes = Field(proc + "/meminfo", "MemAvailable:"))
    available = *kilobytes * 1024;
  const auto limit = Number(group + "/memory.max"), used = Number(group + "/memory.current");
  if (limit && used) {
    const int64_t files = Field(group + "/memory.stat", "file").value_or(0);
    available = std::min(available, std::max<int64_t>(0, *limit - *used + files));
  }
  return available;
}

int64_t DefaultStateBytes(int64_t available, int64_t weight_bytes) {
  return std::max((available - weight_bytes) / 5 * 4, available / 4);
}

int64_t WeightBytes(const model::LoadedModel& model) {
  return model::SizesOf(model.config(), model.checkpoint()).bytes;
}

}  // namespace fathom::engine
