// Members that Chat Completions and Completions share and the other dialects do not have.
#pragma once

#include <cstdint>
#include <string_view>

#include "api/error.h"
#include "api/fields.h"

namespace fathom::api {

inline constexpr int64_t kTopLogprobsMax = 20;

struct StreamWish {
  bool is_stream = false;
  bool include_usage = false;
};
// `stream` and `stream_options`.
Parsed<StreamWish> ReadStream(const Field& body);

// What the platform has under /beta only.
ApiError NeedsBeta(std::string_view what);

}  // namespace fathom::api
