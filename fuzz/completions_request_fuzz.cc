// Bodies of Completions (api/request.h): any bytes give a request or an error of the client's
// (4xx) that can be written; what was accepted keeps its promises and can be encoded. The first
// byte chooses the profile.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/request.h"
#include "base/check.h"
#include "base/json.h"
#include "chat/encode.h"
#include "text/utf8.h"

namespace {

using namespace fathom;

void CheckError(const api::ApiError& error) {
  FATHOM_CHECK(error.status >= 400 && error.status < 500, "not the client's fault");
  FATHOM_CHECK(!error.message.empty() && text::IsValidUtf8(error.message), "a bad message");
  const std::string body = api::WriteError(error, api::Dialect::kCompletions, "r");
  FATHOM_CHECK(ParseJson(body).ok(), "an error body that is not JSON");
}

void CheckRequest(const api::Request& request, const api::Facts& facts) {
  using Prompt = api::Request::Prompt;
  FATHOM_CHECK(!request.thinks(), "thinks");
  FATHOM_CHECK(request.generation.max_tokens.value_or(0) >= 1, "max_tokens");
  FATHOM_CHECK(request.generation.n == 1, "n");
  FATHOM_CHECK(request.generation.logprobs.value_or(0) <= 20, "logprobs");
  switch (request.prompt) {
    case Prompt::kTokens:
      FATHOM_CHECK(!request.tokens.empty(), "no tokens");
      for (const TokenId token : request.tokens)
        FATHOM_CHECK(token >= 0 && token < facts.vocab_size, "a token out of range");
      break;
    case Prompt::kText:
      FATHOM_CHECK(chat::EncodeRaw(request.text).ok(), "a prompt that cannot be encoded");
      break;
    case Prompt::kFillInMiddle:
      FATHOM_CHECK(!request.echo, "echo with suffix");
      FATHOM_CHECK(chat::EncodeFillInMiddle(request.text, request.suffix).ok(),
                   "a prompt that cannot be encoded");
      break;
    case Prompt::kConversation:
      FATHOM_CHECK(false, "a conversation");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  api::Facts facts;
  facts.profile = (data[0] & 1) != 0 ? api::Profile::kStrict : api::Profile::kDefault;
  const auto request = api::ParseCompletions(body, facts, {.is_beta = (data[0] & 2) != 0});
  if (request.ok()) {
    CheckRequest(request.value(), facts);
  } else {
    CheckError(request.error());
  }
  return 0;
}
