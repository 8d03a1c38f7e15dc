#include "engine/memory_budget.h"

#include <algorithm>

#include "model/sizes.h"

namespace fathom::engine {
int64_t DefaultStateBytes(int64_t available, int64_t weight_bytes) {
  return std::max((available - weight_bytes) / 5 * 4, available / 4);
}

int64_t WeightBytes(const model::LoadedModel& model) {
  return model::SizesOf(model.config(), model.checkpoint()).bytes;
}

}  // namespace fathom::engine
