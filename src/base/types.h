// The few vocabulary types that both wings of the house share.
#pragma once

#include <cstdint>

namespace fathom {

// A token of the vocabulary. Signed, so that "none" can be written -1 in recorded files.
using TokenId = int32_t;

}  // namespace fathom
