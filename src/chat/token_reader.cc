#include "chat/token_reader.h"

#include <algorithm>
#include <utility>

#include "chat/templates.h"
#include "text/utf8.h"

namespace fathom::chat {
namespace {

ParserOptions ById(ParserOptions options) {
  options.reads_control_text = false;
  return options;
}

void Keep(std::vector<Delta>& out, std::vector<Delta> deltas) {
  for (Delta& delta : deltas) {
    if (delta.text.empty() && delta.kind == Delta::Kind::kContent) continue;
    out.push_back(std::move(delta));
  }
}

}  // namespace

std::vector<TokenId> StopTokens(const tokenizer::Tokenizer& tokenizer, std::vector<TokenId> more) {
  for (const std::string_view text : {kEos, kUser})
    if (const auto token = tokenizer.FindToken(text)) more.push_back(*token);
  std::sort(more.begin(), more.end());
  more.erase(std::unique(more.begin(), more.end()), more.end());
  return more;
}

TokenReader::TokenReader(const tokenizer::Tokenizer& tokenizer, ParserOptions options, bool is_raw)
    : is_raw_(is_raw),
      decoder_(tokenizer),
      stops_(options.stop_strings),
      parser_(ById(options)),
      bos_(tokenizer.FindToken(kBos)),
      think_(tokenizer.FindToken(kThink)),
      end_think_(tokenizer.FindToken(kEndThink)),
      is_reasoning_(!is_raw && options.starts_in_reasoning) {}

std::string TokenReader::Text(TokenId token) {
  auto text = decoder_.Add(token);
  if (text.ok()) return std::move(text).value();
  return decoder_.Flush() + std::string(text::kReplacement);
}

// A character that was cut off by what comes now.
void TokenReader::Flush(std::vector<Delta>& out) {
  const std::string rest = decoder_.Flush();
  if (!rest.empty()) Keep(out, parser_.Feed(rest));
}

std::vector<Delta> TokenReader::Add(TokenId token) {
  std::vector<Delta> out;
  last_was_text_ = true;
  if (is_raw_) {
    Keep(out, {{Delta::Kind::kContent, stops_.Add(Text(token))}});
    return out;
  }
  if (token == think_ || token == end_think_) {
    last_was_text_ = false;
    is_reasoning_ = token == think_;
    Flush(out);
    Keep(out,
         parser_.FeedControl(is_reasoning_ ? ControlToken::kOpenThink : ControlToken::kCloseThink));
  } else if (token == bos_) {
    last_was_text_ = false;
  } else {
    reasoning_tokens_ += is_reasoning_;
    Keep(out, parser_.Feed(Text(token)));
  }
  return out;
}

OutputParser::Finished TokenReader::Finish(StopReason reason) {
  OutputParser::Finished finished;
  if (is_raw_) {
    std::string rest = stops_.Add(decoder_.Flush());
    if (!stops_.hit()) rest += stops_.Flush();
    Keep(finished.deltas, {{Delta::Kind::kContent, std::move(rest)}});
    finished.reason = reason == StopReason::kStop ? FinishReason::kStop : FinishReason::kLength;
    return finished;
  }
  Flush(finished.deltas);
  OutputParser::Finished parsed = parser_.Finish(reason);
  Keep(finished.deltas, std::move(parsed.deltas));
  finished.reason = parsed.reason;
  finished.has_partial_call = parsed.has_partial_call;
  return finished;
}

}  // namespace fathom::chat
