// Sampled tokens to deltas: bytes to text, control tokens to the parser by their ids, and, for raw
// completions, stop strings over the plain text. One completion each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "chat/delta.h"
#include "chat/output_parser.h"
#include "chat/stop_matcher.h"
#include "tokenizer/tokenizer.h"

namespace fathom::chat {

// The tokens that end an answer: EOS, and the next user turn, which a healthy model never begins
// itself; `more` are those that the checkpoint's files name. Ascending.
std::vector<TokenId> StopTokens(const tokenizer::Tokenizer& tokenizer, std::vector<TokenId> more);

class TokenReader {
 public:
  // `is_raw`: the completion is one text, tags included, which comes as content; of `options` only
  // the stop strings count then. The tokenizer must outlive the reader.
  TokenReader(const tokenizer::Tokenizer& tokenizer, ParserOptions options, bool is_raw);

  // A token that ends nothing by itself. An id without a token shows as U+FFFD. Empty content is
  // left out.
  std::vector<Delta> Add(TokenId token);
  // A stop string was found, or the text ended by itself: no more tokens are wanted.
  bool is_done() const { return is_raw_ ? stops_.hit() : parser_.is_done(); }
  bool stop_string_hit() const { return is_raw_ ? stops_.hit() : parser_.stop_string_hit(); }
  // The one that was found.
  const std::string& stop_string() const {
    return is_raw_ ? stops_.found() : parser_.stop_string();
  }
  // The end; once. Releases what was held back.
  OutputParser::Finished Finish(StopReason reason);

  // Tokens of reasoning text so far; the delimiters do not count.
  int64_t reasoning_tokens() const { return reasoning_tokens_; }
  // Whether the last token was text, and no delimiter.
  bool last_was_text() const { return last_was_text_; }

 private:
  std::string Text(TokenId token);
  void Flush(std::vector<Delta>& out);

  const bool is_raw_;
  tokenizer::StreamDecoder decoder_;
  StopMatcher stops_;    // raw
  OutputParser parser_;  // otherwise
  const std::optional<TokenId> bos_, think_, end_think_;
  bool is_reasoning_;
  bool last_was_text_ = false;
  int64_t reasoning_tokens_ = 0;
};

}  // namespace fathom::chat
