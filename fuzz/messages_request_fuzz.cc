// Bodies of the Anthropic dialect (api::ParseMessages): any bytes are a refusal with a status of
// the 400s or a request whose conversation encodes; what strict accepts, default accepts as the
// same prompt.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/request.h"
#include "base/check.h"
#include "base/json.h"
#include "chat/encode.h"

namespace {

using namespace fathom;

// The prompt, or nullopt when the body is refused.
std::optional<std::string> Prompt(std::string_view body, api::Profile profile, bool counts_only) {
  api::Facts facts;
  facts.profile = profile;
  const auto request = api::ParseMessages(body, facts, {}, counts_only);
  if (!request.ok()) {
    const api::ApiError& error = request.error();
    FATHOM_CHECK(error.status >= 400 && error.status < 500, error.message);
    FATHOM_CHECK(!error.message.empty());
    FATHOM_CHECK(ParseJson(api::WriteError(error, api::Dialect::kAnthropic, "r")).ok(),
                 "an error that is not JSON");
    return std::nullopt;
  }
  const auto prompt = chat::Encode(request.value().conversation, request.value().encode);
  FATHOM_CHECK(prompt.ok(), prompt.error().message);
  return prompt.value().text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto tolerant = Prompt(body, api::Profile::kDefault, /*counts_only=*/false);
  if (const auto strict = Prompt(body, api::Profile::kStrict, /*counts_only=*/false))
    FATHOM_CHECK(tolerant == strict, "strict accepts what default reads otherwise");
  if (tolerant)
    FATHOM_CHECK(Prompt(body, api::Profile::kDefault, /*counts_only=*/true) == tolerant,
                 "counting sees another prompt");
  return 0;
}
