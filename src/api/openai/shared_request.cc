#include "api/openai/shared_request.h"

#include <fmt/format.h>

namespace fathom::api {

Parsed<StreamWish> ReadStream(const Field& body) {
  StreamWish wish;
  FATHOM_TRY(const auto stream, body["stream"].OptBool());
  const Field options = body["stream_options"];
  FATHOM_TRY_VOID(options.OptObject("struct StreamOptions"));
  FATHOM_TRY(const auto include_usage, options["include_usage"].OptBool());
  wish.is_stream = stream.value_or(false);
  wish.include_usage = wish.is_stream && include_usage.value_or(false);
  return wish;
}

ApiError NeedsBeta(std::string_view what) {
  return BadRequest(fmt::format(
      "{} is only available when using beta api (set base_url=\"https://api.deepseek.com/beta\")",
      what));
}

}  // namespace fathom::api
