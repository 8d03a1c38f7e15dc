// Schemas from clients (grammar/constraint.h): any JSON compiles or is refused in bounded time, and
// what compiles can be written token by token: as long as the answer is not complete, some token is
// allowed.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "grammar/constraint.h"
#include "tokenizer/synthetic.h"
#include "tokenizer/tokenizer.h"

namespace {

using fathom::TokenId;
namespace grammar = fathom::grammar;

constexpr TokenId kStop = 1;

std::shared_ptr<const grammar::Vocabulary> Shared() {
  static const auto tokenizer = fathom::tokenizer::Tokenizer::FromJson(
      fathom::tokenizer::SyntheticTokenizerJson(400), "synthetic");
  static const auto vocabulary =
      std::make_shared<grammar::Vocabulary>(tokenizer.value(), tokenizer.value().vocab_size());
  return vocabulary;
}

// Takes some allowed tokens, chosen by the input's own bytes.
void Walk(std::shared_ptr<const grammar::Grammar> compiled, const uint8_t* data, size_t size) {
  grammar::AnswerConstraint constraint(Shared(),
                                       {.grammar = std::move(compiled), .stop_tokens = {kStop}});
  for (size_t step = 0; step < 24; ++step) {
    const auto mask = constraint.Allowed();
    FATHOM_CHECK(!mask.empty(), "no token is allowed");
    const auto wanted = static_cast<TokenId>(data[step % size]);
    const auto count = static_cast<TokenId>(mask.size() * 64);
    TokenId token = -1;
    for (TokenId i = 0; i < count && token < 0; ++i) {
      const TokenId candidate = (wanted + i) % count;
      if ((mask[static_cast<size_t>(candidate) / 64] >> (candidate % 64) & 1) != 0) {
        token = candidate;
      }
    }
    FATHOM_CHECK(token >= 0, "the mask is empty");
    if (token == kStop) return;
    constraint.Accept(token);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto schema = fathom::ParseJson({reinterpret_cast<const char*>(data), size});
  if (!schema.ok()) return 0;
  const auto compiled = grammar::CompileSchema(schema.value());
  if (compiled.ok()) Walk(compiled.value(), data, size);
  const auto tools =
      grammar::CompileTools({.tools = {{"f", schema.value(), true}}, .is_required = size % 2 == 0});
  if (tools.ok()) Walk(tools.value(), data, size);
  return 0;
}
