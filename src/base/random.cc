#include "base/random.h"

#include <random>

namespace fathom {

uint64_t RandomFromSystem() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace fathom
