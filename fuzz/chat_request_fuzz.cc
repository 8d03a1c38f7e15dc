// Bodies of Chat Completions (api/request.h): any bytes give a request or an error of the client's
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
  FATHOM_CHECK(!error.message.empty(), "no message");
  FATHOM_CHECK(text::IsValidUtf8(error.message), "a message that is not UTF-8");
  const std::string body = api::WriteError(error, api::Dialect::kChat, "r");
  FATHOM_CHECK(ParseJson(body).ok(), "an error body that is not JSON");
}

void CheckRequest(std::string_view body, const api::Request& request, const api::Facts& facts) {
  const api::Generation& generation = request.generation;
  FATHOM_CHECK(request.model == facts.model, "another model");
  FATHOM_CHECK(generation.n >= 1 && generation.n <= 8, "n");
  FATHOM_CHECK(generation.max_tokens.value_or(1) >= 1, "max_tokens");
  FATHOM_CHECK(generation.temperature.value_or(0) >= 0 && generation.temperature.value_or(0) <= 2,
               "temperature");
  FATHOM_CHECK(generation.top_p.value_or(1) > 0 && generation.top_p.value_or(1) <= 1, "top_p");
  for (const auto& [token, bias] : generation.logit_bias)
    FATHOM_CHECK(token >= 0 && token < facts.vocab_size && bias >= -100 && bias <= 100, "bias");
  for (const std::string& stop : generation.stop) FATHOM_CHECK(!stop.empty(), "empty stop");
  FATHOM_CHECK(request.tool_choice == api::ToolChoice::kNone || !request.tools.empty(),
               "a choice without tools");

  const auto prompt = chat::Encode(request.conversation, request.encode);
  if (!prompt.ok()) {
    // Arguments are JSON inside a string: a lone surrogate escape in there shows only now.
    FATHOM_CHECK(prompt.error().message.starts_with("prompt: expected UTF-8") &&
                     body.find("arguments") != body.npos,
                 prompt.error().message);
    return;
  }
  const bool thinks_first = request.thinks() && !request.continues_prefix;
  FATHOM_CHECK(prompt.value().starts_in_reasoning == thinks_first, "the wrong beginning");
  const std::string& text = prompt.value().text;
  FATHOM_CHECK(text.starts_with("<｜begin▁of▁sentence｜>"), "no BOS");
  FATHOM_CHECK(
      request.continues_prefix ||
          text.ends_with(request.thinks() ? "<｜Assistant｜><think>" : "<｜Assistant｜></think>"),
      "the prompt does not end with the answer's header");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  api::Facts facts;
  facts.profile = (data[0] & 1) != 0 ? api::Profile::kStrict : api::Profile::kDefault;
  if ((data[0] & 4) != 0) facts.revision = chat::Revision::kPreview;
  const auto request = api::ParseChat(body, facts, {.is_beta = (data[0] & 2) != 0});
  if (request.ok()) {
    CheckRequest(body, request.value(), facts);
  } else {
    CheckError(request.error());
  }
  return 0;
}
